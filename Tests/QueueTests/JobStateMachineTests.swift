import Queue
import Testing

/// One cell of the table for a job in its first of three attempts: what an event makes of it, if it may happen at all.
struct JobMove: Sendable, CustomTestStringConvertible {
    let from: JobState
    let event: JobStateMachine.Event
    let to: JobState?
    let attempt: Int

    init(_ from: JobState, _ event: JobStateMachine.Event, _ to: JobState?, attempt: Int = 1) {
        self.from = from
        self.event = event
        self.to = to
        self.attempt = attempt
    }

    var testDescription: String { "\(event) in \(from)" }
}

private let moves: [JobMove] = [
    JobMove(.scheduled, .due, .available),
    JobMove(.scheduled, .claim, nil),
    JobMove(.scheduled, .complete, nil),
    JobMove(.scheduled, .fail, nil),
    JobMove(.scheduled, .release, nil),
    JobMove(.scheduled, .rescue, nil),
    JobMove(.scheduled, .cancel, .cancelled),
    JobMove(.scheduled, .giveUp, .available, attempt: 3),
    JobMove(.scheduled, .requeue, .available),
    JobMove(.available, .due, nil),
    JobMove(.available, .claim, .executing, attempt: 2),
    JobMove(.available, .complete, nil),
    JobMove(.available, .fail, nil),
    JobMove(.available, .release, nil),
    JobMove(.available, .rescue, nil),
    JobMove(.available, .cancel, .cancelled),
    JobMove(.available, .giveUp, .available, attempt: 3),
    JobMove(.available, .requeue, nil),
    JobMove(.executing, .due, nil),
    JobMove(.executing, .claim, nil),
    JobMove(.executing, .complete, .completed),
    JobMove(.executing, .fail, .retryable),
    JobMove(.executing, .release, .available, attempt: 0),
    JobMove(.executing, .rescue, .available),
    JobMove(.executing, .cancel, .cancelled),
    JobMove(.executing, .giveUp, nil),
    JobMove(.executing, .requeue, nil),
    JobMove(.retryable, .due, .available),
    JobMove(.retryable, .claim, nil),
    JobMove(.retryable, .complete, nil),
    JobMove(.retryable, .fail, nil),
    JobMove(.retryable, .release, nil),
    JobMove(.retryable, .rescue, nil),
    JobMove(.retryable, .cancel, .cancelled),
    JobMove(.retryable, .giveUp, .available, attempt: 3),
    JobMove(.retryable, .requeue, .available),
    JobMove(.completed, .due, nil),
    JobMove(.completed, .claim, nil),
    JobMove(.completed, .complete, nil),
    JobMove(.completed, .fail, nil),
    JobMove(.completed, .release, nil),
    JobMove(.completed, .rescue, nil),
    JobMove(.completed, .cancel, nil),
    JobMove(.completed, .giveUp, nil),
    JobMove(.completed, .requeue, nil),
    JobMove(.discarded, .due, nil),
    JobMove(.discarded, .claim, nil),
    JobMove(.discarded, .complete, nil),
    JobMove(.discarded, .fail, nil),
    JobMove(.discarded, .release, nil),
    JobMove(.discarded, .rescue, nil),
    JobMove(.discarded, .cancel, nil),
    JobMove(.discarded, .giveUp, nil),
    JobMove(.discarded, .requeue, .available, attempt: 0),
    JobMove(.cancelled, .due, nil),
    JobMove(.cancelled, .claim, nil),
    JobMove(.cancelled, .complete, nil),
    JobMove(.cancelled, .fail, nil),
    JobMove(.cancelled, .release, nil),
    JobMove(.cancelled, .rescue, nil),
    JobMove(.cancelled, .cancel, nil),
    JobMove(.cancelled, .giveUp, nil),
    JobMove(.cancelled, .requeue, .available, attempt: 0),
]

/// The machine after these events, one after another.
private func play(_ events: JobStateMachine.Event..., maximumAttempts: Int = 3) -> JobStateMachine? {
    var machine: JobStateMachine? = JobStateMachine(maximumAttempts: maximumAttempts)
    for event in events { machine = machine?.after(event) }
    return machine
}

@Suite("Job state machine")
struct JobStateMachineTests {
    @Test("An event moves a job as the table says, or is not allowed", arguments: moves)
    func table(move: JobMove) {
        let machine = JobStateMachine(state: move.from, attempt: 1, maximumAttempts: 3)
        let expected = move.to.map { JobStateMachine(state: $0, attempt: move.attempt, maximumAttempts: 3) }
        #expect(machine.after(move.event) == expected)
    }

    @Test("The table holds every event in every state")
    func isComplete() {
        #expect(
            Set(moves.map { "\($0.from) \($0.event)" }).count == JobState.allCases.count * JobStateMachine.Event.allCases.count)
    }

    @Test("A new job is available and was never started")
    func newJob() {
        #expect(play() == JobStateMachine(state: .available, attempt: 0, maximumAttempts: 3))
    }

    @Test("The failure of the last attempt discards the job", arguments: [1, 2, 5])
    func lastFailure(maximumAttempts: Int) throws {
        var machine = JobStateMachine(maximumAttempts: maximumAttempts)
        for attempt in 1...maximumAttempts {
            machine = try #require((machine.after(.due) ?? machine).after(.claim)?.after(.fail))
            let expected: JobState = attempt < maximumAttempts ? .retryable : .discarded
            #expect(machine.attempt == attempt)
            #expect(machine.state == expected)
        }
    }

    @Test("A shutdown gives the attempt back, however often")
    func releases() {
        let machine = play(.claim, .release, .claim, .release, .claim, .release, .claim, .fail)
        #expect(machine == JobStateMachine(state: .retryable, attempt: 1, maximumAttempts: 3))
    }

    @Test("A crash counts as an attempt")
    func rescues() {
        let machine = play(.claim, .rescue, .claim, .rescue, .claim, .fail)
        #expect(machine == JobStateMachine(state: .discarded, attempt: 3, maximumAttempts: 3))
    }

    @Test("A job whose attempts all crashed is discarded by the next failure")
    func crashesOnly() {
        let machine = play(.claim, .rescue, .claim, .rescue, .claim, .rescue, .claim, .fail)
        #expect(machine?.state == .discarded)
    }

    @Test("The states in which an event is allowed are those of the table", arguments: JobStateMachine.Event.allCases)
    func sources(event: JobStateMachine.Event) {
        let expected = moves.filter { $0.event == event && $0.to != nil }.map(\.from)
        #expect(Set(JobStateMachine.sources(of: event)) == Set(expected))
    }

    @Test("Completed, discarded and cancelled are final, the others are not", arguments: JobState.allCases)
    func finality(state: JobState) {
        let ends: Set<JobState> = [.completed, .discarded, .cancelled]
        #expect(state.isFinal == ends.contains(state))
    }
}
