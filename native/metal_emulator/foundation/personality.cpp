// The personality routine of Objective-C++ frames. The GNU runtime's own does not know C++
// exceptions, so that even a catch in a .mm file would end the process: forward to C++'s.
#include <unwind.h>

#include <cstdint>

extern "C" {

_Unwind_Reason_Code __gxx_personality_v0(int version, _Unwind_Action actions,
                                         std::uint64_t exception_class,
                                         _Unwind_Exception* exception, _Unwind_Context* context);

__attribute__((visibility("hidden"))) _Unwind_Reason_Code
__gnu_objc_personality_v0(int version, _Unwind_Action actions, std::uint64_t exception_class,
                          _Unwind_Exception* exception, _Unwind_Context* context) {
  return __gxx_personality_v0(version, actions, exception_class, exception, context);
}

}  // extern "C"
