import Dispatch
import Foundation
import Synchronization

/// Calls back at given times, from one thread for the whole process: setting and removing an alarm costs no timer, and
/// nearly all of them are removed before their time.
public final class Alarms: Sendable {
    public static let shared = Alarms()

    private struct Alarm {
        let time: ContinuousClock.Instant
        let action: @Sendable () -> Void
    }

    private struct State {
        var nextID = 0
        var alarms: [Int: Alarm] = [:]
        /// When the thread looks next.
        var look: ContinuousClock.Instant?
        var isStarted = false
    }

    /// Looks are at least this far apart, so that many alarms are not looked through for each.
    private static let interval: Duration = .milliseconds(10)

    private let state = Mutex(State())
    private let sooner = DispatchSemaphore(value: 0)

    /// Calls `action` once, at `time` or soon after, unless the alarm is removed. The action must not block.
    public func set(for time: ContinuousClock.Instant, action: @escaping @Sendable () -> Void) -> Int {
        let (id, isSooner, isFirst) = state.withLock { state in
            state.nextID += 1
            state.alarms[state.nextID] = Alarm(time: time, action: action)
            let isSooner = state.look.map { time < $0 } ?? true
            if isSooner { state.look = time }
            defer { state.isStarted = true }
            return (state.nextID, isSooner, !state.isStarted)
        }
        if isFirst { Thread.detachNewThread { [self] in watch() } }
        if isSooner { sooner.signal() }
        return id
    }

    public func remove(_ id: Int) { state.withLock { _ = $0.alarms.removeValue(forKey: id) } }

    private func watch() {
        while true {
            let rest = state.withLock { $0.look }.map { $0 - .now }
            if let rest {
                _ = sooner.wait(timeout: .now() + .microseconds(Int(max(rest.microseconds, 0))))
            } else {
                sooner.wait()
            }
            for alarm in takeDue() { alarm.action() }
        }
    }

    private func takeDue() -> [Alarm] {
        state.withLock { state in
            let now = ContinuousClock.now
            let due = state.alarms.filter { $0.value.time <= now }
            for id in due.keys { state.alarms[id] = nil }
            state.look = state.alarms.values.map(\.time).min().map { max($0, now + Self.interval) }
            return Array(due.values)
        }
    }
}
