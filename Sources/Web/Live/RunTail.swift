import Domain
import Synchronization

/// The newest events of one run, shared by everyone who streams it. Readers keep their own cursor and pull, so a slow
/// one costs no memory here: it falls out of the window and reads the log.
final class RunTail: Sendable {
    /// Enough to bridge a reader's pause of a second or two.
    static let maximumEvents = 256
    static let maximumBytes = 64 * 1024
    /// How often the log is looked at when no signal comes: the net under a lost signal.
    static let pollInterval: Duration = .seconds(1)

    private struct State {
        /// Contiguous, in order, up to `last`; or none.
        var events: [LoggedEvent] = []
        var bytes = 0
        /// The newest position that is known of.
        var last: Int64 = 0
        var lastPoll = ContinuousClock.now
        var readers = 0

        mutating func trim() {
            while events.count > RunTail.maximumEvents || bytes > RunTail.maximumBytes, !events.isEmpty {
                bytes -= events.removeFirst().fields.utf8.count
            }
        }
    }

    /// Notified when something new is known.
    let signal = Signal()
    private let state = Mutex(State())

    func join() { state.withLock { $0.readers += 1 } }

    /// Answers whether nobody reads any more.
    func leave() -> Bool {
        state.withLock { state in
            state.readers -= 1
            return state.readers == 0
        }
    }

    /// What came after a cursor.
    enum Window {
        case nothingNew
        case events(ArraySlice<LoggedEvent>)
        /// More is known of than is kept: the log has it.
        case inLog
    }

    func window(after cursor: Int64) -> Window {
        state.withLock { state in
            if cursor >= state.last { return .nothingNew }
            guard let first = state.events.first, first.seq <= cursor + 1 else { return .inLog }
            return .events(state.events[Int(cursor + 1 - first.seq)...])
        }
    }

    /// Takes what a commit published.
    func receive(_ runSignal: RunSignal) { receive(runSignal.events, last: runSignal.last) }

    /// A reader has read the log up to `seq`: what is missing after a lost signal is looked for from there.
    func noteRead(upTo seq: Int64) {
        state.withLock { state in
            guard seq > state.last else { return }
            (state.last, state.events, state.bytes) = (seq, [], 0)
        }
    }

    /// Keeps the newest events that join up to `last`; anything older than what is known is nothing new.
    private func receive(_ events: [LoggedEvent], last: Int64) {
        state.withLock { state in
            guard last > state.last else { return }
            let fresh = events.drop { $0.seq <= state.last }
            let isWhole = fresh.last?.seq == last
            let isContinuation = fresh.first?.seq == state.last + 1
            if !isWhole || !isContinuation { (state.events, state.bytes) = ([], 0) }
            if isWhole {
                state.events += fresh
                state.bytes += fresh.reduce(0) { $0 + $1.fields.utf8.count }
            }
            state.last = last
            state.trim()
        }
        signal.notify()
    }

    /// The position to read the log from, when it is time to look; the caller reads for every reader and calls `polled`.
    func claimPoll() -> Int64? {
        state.withLock { state in
            guard .now - state.lastPoll >= Self.pollInterval else { return nil }
            state.lastPoll = .now
            return state.last
        }
    }

    /// Takes what a look at the log found.
    func polled(_ events: [LoggedEvent]) {
        guard let last = events.last else { return }
        receive(events, last: last.seq)
    }
}
