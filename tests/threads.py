"""Jobs on several threads."""

import threading


def in_threads(*jobs):
    """Run functions at the same time, and raise the first failure of any."""
    failures = []
    start = threading.Barrier(len(jobs))

    def run(job):
        try:
            start.wait(60)
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]
