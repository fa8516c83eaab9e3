import Agents
import Testing

/// One cell of the table: where a run is, what happens, and where it is then, if that may happen at all.
struct RunMove: Hashable, Sendable, CustomTestStringConvertible {
    let from: RunStatus
    let event: RunStateMachine.Event
    let to: RunStatus?

    init(_ from: RunStatus, _ event: RunStateMachine.Event, _ to: RunStatus?) {
        self.from = from
        self.event = event
        self.to = to
    }

    var testDescription: String { "\(event) in \(from)" }
}

private let moves: [RunMove] = [
    RunMove(.queued, .begin, .running),
    RunMove(.queued, .wait, nil),
    RunMove(.queued, .resume, nil),
    RunMove(.queued, .succeed, nil),
    RunMove(.queued, .fail, nil),
    RunMove(.queued, .expire, nil),
    RunMove(.queued, .cancel, .cancelled),
    RunMove(.running, .begin, .running),
    RunMove(.running, .wait, .waiting),
    RunMove(.running, .resume, nil),
    RunMove(.running, .succeed, .succeeded),
    RunMove(.running, .fail, .failed),
    RunMove(.running, .expire, .expired),
    RunMove(.running, .cancel, .cancelled),
    RunMove(.waiting, .begin, nil),
    RunMove(.waiting, .wait, nil),
    RunMove(.waiting, .resume, .queued),
    RunMove(.waiting, .succeed, nil),
    RunMove(.waiting, .fail, nil),
    RunMove(.waiting, .expire, nil),
    RunMove(.waiting, .cancel, .cancelled),
    RunMove(.succeeded, .begin, nil),
    RunMove(.succeeded, .wait, nil),
    RunMove(.succeeded, .resume, nil),
    RunMove(.succeeded, .succeed, nil),
    RunMove(.succeeded, .fail, nil),
    RunMove(.succeeded, .expire, nil),
    RunMove(.succeeded, .cancel, nil),
    RunMove(.failed, .begin, nil),
    RunMove(.failed, .wait, nil),
    RunMove(.failed, .resume, nil),
    RunMove(.failed, .succeed, nil),
    RunMove(.failed, .fail, nil),
    RunMove(.failed, .expire, nil),
    RunMove(.failed, .cancel, nil),
    RunMove(.cancelled, .begin, nil),
    RunMove(.cancelled, .wait, nil),
    RunMove(.cancelled, .resume, nil),
    RunMove(.cancelled, .succeed, nil),
    RunMove(.cancelled, .fail, nil),
    RunMove(.cancelled, .expire, nil),
    RunMove(.cancelled, .cancel, nil),
    RunMove(.expired, .begin, nil),
    RunMove(.expired, .wait, nil),
    RunMove(.expired, .resume, nil),
    RunMove(.expired, .succeed, nil),
    RunMove(.expired, .fail, nil),
    RunMove(.expired, .expire, nil),
    RunMove(.expired, .cancel, nil),
]

private let sources: [(RunStatus, Set<RunStatus>)] = [
    (.queued, [.waiting]), (.running, [.queued, .running]), (.waiting, [.running]), (.succeeded, [.running]),
    (.failed, [.running]), (.expired, [.running]), (.cancelled, [.queued, .running, .waiting]),
]

@Suite("Run state machine")
struct RunStateMachineTests {
    @Test("An event moves a run as the table says, or is not allowed", arguments: moves)
    func table(move: RunMove) {
        #expect(RunStateMachine.status(after: move.event, in: move.from) == move.to)
    }

    @Test("The table holds every event in every status")
    func isComplete() {
        let expected = RunStatus.allCases.count * RunStateMachine.Event.allCases.count
        #expect(Set(moves.map { "\($0.from) \($0.event)" }).count == expected)
    }

    @Test("A status is reached from these only", arguments: sources)
    func reachedFrom(target: RunStatus, expected: Set<RunStatus>) {
        #expect(Set(RunStateMachine.sources(of: target)) == expected)
    }

    @Test("Succeeded, failed, cancelled and expired are final, the others are not", arguments: RunStatus.allCases)
    func finality(status: RunStatus) {
        let ends: Set<RunStatus> = [.succeeded, .failed, .cancelled, .expired]
        #expect(status.isFinal == ends.contains(status))
    }
}
