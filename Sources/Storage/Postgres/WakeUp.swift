import Glibc

/// Wakes a thread that waits in `poll`: a pipe, of which the thread watches the reading end.
final class WakeUp: Sendable {
    private let reading: Int32
    private let writing: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "The process may open no more files: raise its limit.")
        (reading, writing) = (ends[0], ends[1])
        for end in ends {
            // A full pipe wakes as well: nobody waits until there is room. And no program that is started inherits it.
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
    }

    deinit {
        close(reading)
        close(writing)
    }

    /// What to wait for.
    var interest: pollfd { pollfd(fd: reading, events: Int16(POLLIN), revents: 0) }

    /// Ends the wait that is under way, or else the next one.
    func signal() {
        var byte: UInt8 = 1
        write(writing, &byte, 1)
    }

    /// Forgets the signals so far.
    func clear() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(reading, &bytes, bytes.count) == bytes.count {}
    }
}
