# Every extern declaration, a block per C++ header, nothing else.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.string cimport string
from libcpp.vector cimport vector


cdef extern from "nitinol/dtype.h" namespace "nitinol" nogil:
    cdef enum class DType(uint8_t):
        bool_
        int64
        float32
        float64
        complex64
        complex128
    size_t itemsize(DType) noexcept


cdef extern from "nitinol/layout.h" namespace "nitinol" nogil:
    cdef cppclass Layout:
        int ndim() noexcept
        int64_t size() noexcept
        int64_t offset() noexcept
        cbool contiguous() noexcept
        int64_t shape(int) noexcept
        int64_t stride(int) noexcept


cdef extern from "nitinol/op.h" namespace "nitinol" nogil:
    cdef enum class Op(uint8_t):
        data
        view
        cast
        where
        add
        subtract
        multiply
        divide
        floor_divide
        remainder
        power
        negative
        equal
        not_equal
        less
        less_equal
        greater
        greater_equal
        bitwise_and
        bitwise_or
        bitwise_xor
        bitwise_invert
        bitwise_left_shift
        bitwise_right_shift
        count_
    cdef cppclass OpInfo:
        const char* name
        const char* ufunc
        uint8_t arity
        cbool elementwise
    const OpInfo& info(Op) noexcept
    Op op_from_name(const char*) noexcept
    int op_count


cdef extern from "nitinol/fault.h" namespace "nitinol" nogil:
    cdef enum class Code(uint8_t):
        none
        internal
        host_callback
        count_
    cdef enum class Domain(uint8_t):
        none
        command_buffer
        unknown
    const char* code_name "nitinol::name"(Code) noexcept
    Code code_from_name(const char*) noexcept
    cdef cppclass Fault:
        Code code
        int injection
        int32_t native
        int64_t raw
        int64_t args[4]
        Domain domain


cdef extern from "nitinol/policy.h" namespace "nitinol" nogil:
    cdef enum class Condition(uint8_t):
        ok
        degraded
    const char* condition_name "nitinol::name"(Condition) noexcept
    cbool retryable(Code) noexcept
    cbool culprit(Code) noexcept
    cdef cppclass RecoveryPolicy:
        uint32_t victim_retries
        int64_t victim_backoff
        cbool out_of_memory_retry
        cbool internal_retry
        cbool split_interactivity
        cbool split_timeout
        uint32_t culprit_budget
        int64_t culprit_window
    cdef cppclass Health:
        Condition condition() noexcept
        cbool reset() noexcept
        void end_injection(int number) noexcept
        RecoveryPolicy policy() noexcept
        void set_policy(const RecoveryPolicy&) noexcept


cdef extern from "nitinol/memory.h" namespace "nitinol" nogil:
    cdef cppclass MemoryStats:
        size_t in_use
        size_t cached
        size_t peak
        size_t limit
        size_t resident
    cdef cppclass Allocator:
        size_t trim() noexcept
        void set_limit(size_t) noexcept
        MemoryStats stats() noexcept
        const char* residency_description() noexcept
        void reset_peak() noexcept


cdef extern from "nitinol/reclaim.h" namespace "nitinol" nogil:
    cdef cppclass Keep:
        Keep(void*) except +
        void* object() noexcept
        Keep* next() noexcept

        @staticmethod
        Keep* take_discarded() noexcept

        @staticmethod
        cbool any_discarded() noexcept

        @staticmethod
        void free(Keep*) noexcept


cdef extern from "nitinol/scope.h" namespace "nitinol" nogil:
    cdef cppclass Scope:
        const string& name() noexcept
        void abandon() noexcept
        void release() noexcept


cdef extern from "nitinol/trace.h" namespace "nitinol" nogil:
    cdef cppclass SourceLine:
        string file
        string function
        int line
    cdef enum class Refused(uint8_t):
        no
    const char* refused_name "nitinol::name"(Refused) noexcept
    cdef cppclass RefusedDonation "nitinol::RefusedDonations::Entry":
        Refused reason
        Op op
        size_t bytes
        const SourceLine* source


cdef extern from "nitinol/notice.h" namespace "nitinol" nogil:
    cdef cppclass Notices:
        cppclass Change:
            Condition before
            Condition now
        void listen_errors(int) noexcept
        void listen_changes(int) noexcept
        cbool any() noexcept
        cbool take_change(Change&) noexcept


cdef extern from "nitinol/error.h" namespace "nitinol" nogil:
    cdef enum class Phase(uint8_t):
        encode
        commit
        completion
    const char* phase_name "nitinol::name"(Phase) noexcept
    cdef enum class EncoderState(uint8_t):
        unknown
    const char* encoder_state_name "nitinol::name"(EncoderState) noexcept
    cdef cppclass ReportedEncoder:
        char label[64]
        EncoderState state
    cdef enum class Observer(uint8_t):
        nobody
        raised
        drained
        collected
        printed
    cdef cppclass ReportedArray:
        Op op
        DType dtype
        uint8_t ndim
        int64_t shape[8]
        const SourceLine* source
    cdef cppclass Report:
        Fault fault
        Code secondary
        Phase phase
        Op op
        uint8_t array_count
        uint32_t stream
        uint32_t unit
        uint32_t instructions
        uint64_t submission
        const Device* device
        ReportedArray arrays[4]
        char text[240]
        char detail[240]
        uint8_t encoder_count
        ReportedEncoder encoders[4]
        Observer observer() noexcept
        void release() noexcept
    cdef cppclass ErrorCounts:
        uint64_t struck
        uint64_t recovered
        uint64_t retried
        uint64_t raised
        uint64_t drained
        uint64_t collected
        uint64_t printed
        uint64_t suppressed
        uint64_t unobserved
    cdef cppclass ErrorRecord:
        cbool observe(const Report&, Observer) noexcept
        void sweep() noexcept
        uint64_t failures() noexcept
        uint64_t failures_by_code "failures"(Code) noexcept
        ErrorCounts counts() noexcept


cdef extern from "nitinol/inject.h" namespace "nitinol" nogil:
    cdef cppclass InjectionRule:
        Code code
        Phase phase
        uint64_t at
        uint64_t times
        int64_t raw
        uint64_t seen
        uint64_t fired
    cdef cppclass Injector:
        int add(const InjectionRule&) except +
        InjectionRule remove(int)


cdef extern from "nitinol/buffer.h" namespace "nitinol" nogil:
    cdef cppclass Buffer:
        char* data() noexcept
        size_t bytes() noexcept
        cbool borrowed() noexcept
        void retain() noexcept
        void release() noexcept


cdef extern from "nitinol/node.h" namespace "nitinol" nogil:
    cdef enum class State(uint8_t):
        lazy
        scheduled
        ready
        poisoned
    cdef cppclass Node:
        Op op() noexcept
        DType dtype() noexcept
        const Layout& layout() noexcept
        Stream* stream() noexcept
        State state() noexcept
        Node* storage() noexcept
        Buffer* buffer() noexcept
        char* data() noexcept
        size_t bytes() noexcept
        void retain() noexcept
        void release() noexcept
        void trace(const SourceLine*, cbool) except +
        void hold_handle() noexcept
        void drop_handle() noexcept

        @staticmethod
        int64_t alive() noexcept

    int64_t live_reports "nitinol::Report::alive"() noexcept
    int64_t live_scopes "nitinol::Scope::alive"() noexcept
    int64_t live_submissions "nitinol::Submission::alive"() noexcept
    int64_t live_keeps "nitinol::Keep::alive"() noexcept


cdef extern from "nitinol/device.h" namespace "nitinol" nogil:
    cdef cppclass Counter "std::atomic<std::uint64_t>":
        uint64_t load() noexcept
    cdef cppclass Stream:
        Device* device
        uint32_t index
        uint32_t id
    cdef cppclass Device:
        const char* name() noexcept
        const char* kind() noexcept
        int index() noexcept
        const char* hardware() noexcept
        cbool lacks(DType) noexcept
        Stream* default_stream() noexcept
        Stream* make_stream() except +
        void recycle_stream(Stream*) noexcept
        Counter submissions
        Counter units
        Allocator memory
        ErrorRecord record
        Injector injector
        Health health
        Notices notices


cdef extern from "nitinol/schedule.h" namespace "nitinol" nogil:
    cdef cppclass Evaluation:
        cbool done() noexcept
        cbool wait(int64_t) noexcept
        void release() noexcept
    void set_fusion_limit(int) noexcept
    int fusion_limit() noexcept
    void close() noexcept
    cbool closed() noexcept
    cbool forked() noexcept


cdef extern from "nitinol/room.h" namespace "nitinol" nogil:
    cdef cppclass Room:
        Room(Stream&) noexcept
        cbool wait(int64_t) noexcept
    void set_queue_limit(uint32_t) noexcept
    uint32_t queue_limit() noexcept


cdef extern from "nitinol/watch.h" namespace "nitinol" nogil:
    cdef cppclass Watch:
        void* target() noexcept
        Watch* next() noexcept

        @staticmethod
        Watch* take_fired() noexcept


cdef extern from "nitinol/wait.h" namespace "nitinol" nogil:
    cdef cppclass Signal:
        void set() noexcept


cdef extern from "nitinol/host.h" namespace "nitinol" nogil:
    cdef cppclass HostOperand:
        char* data
        const Layout* layout
        DType dtype
    cdef cppclass HostOperands "std::span<const nitinol::HostOperand>":
        size_t size() noexcept
        const HostOperand& operator[](size_t) noexcept
    cdef cppclass HostCall:
        void* callback
        HostOperands inputs
        HostOperand output
        Fault fault
        Keep* exception
        Signal finished
    cdef cppclass HostQueue:

        @staticmethod
        HostQueue& shared() noexcept
        HostCall* take(int64_t) noexcept
        void poke() noexcept
        void close() noexcept


cdef extern from "cpu/blas.h" namespace "nitinol::cpu::blas" nogil:
    cbool load(const char*) noexcept
    const char* load_error() noexcept


cdef extern from "cpu/pool.h" namespace "nitinol::cpu" nogil:
    int concurrency() noexcept
    void set_concurrency(int) noexcept


cdef extern from "_bridge.h" namespace "nitinol::bridge" nogil:
    void start() except +
    size_t device_count() noexcept
    Device* device_at(size_t) noexcept
    Node* make_elementwise(Op, DType, DType, Node**, size_t, Stream*) except +
    Node* make_node(Op, DType, const int64_t*, int, Stream*, Node**, size_t, const int64_t*,
                    size_t, const double*, size_t, const char*, void*, Device*) except +
    Node* make_view(Node*, const int64_t*, const int64_t*, int, int64_t) except +
    Node* make_leaf(DType, const int64_t*, int, Stream*) except +
    Node* make_borrowed(DType, const int64_t*, const int64_t*, int, void*, Stream*,
                        void*) except +
    int schedule(Node**, size_t, cbool, Scope*, Evaluation**) except +
    Evaluation* pending_work(Device*, Stream*) except +
    Evaluation* pending_in(const Scope*) except +
    void watch(Evaluation*, void*) except +
    Scope* make_scope(const char*, size_t) except +
    vector[Report*] reports_of(const Scope*, cbool) except +
    const Scope* scope_of(const Report*) noexcept
    Report* take_error(Device*) noexcept
    cdef cppclass Retried:
        int refusal
        Device* device
        Node* array
        Node* taker
    Retried retry(Node**, size_t, Node**) except +
    const SourceLine* source_line(const char*, const char*, int) except +
    vector[RefusedDonation] take_refused_donations() except +
    cbool any_refused_donations() noexcept
    size_t poison_size(const Node*) noexcept
    Report* poison_report(const Node*, size_t) noexcept
    void add_unobserved(Device*, Observer, int64_t, vector[Report*]&) except +
    void* exception_of(const Report*) noexcept
    void* translation_of(const Report*) noexcept
    void* keep_translation(const Report*, void*) except +
    void register_loop(Op, DType, void*, void*, void*) except +
    cbool has_loop(Op, DType, DType) noexcept
    const char* instruction_set() noexcept
