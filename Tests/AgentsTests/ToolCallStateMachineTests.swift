import Agents
import Testing

/// One cell of the table: where a tool call is, what happens, and where it is then, if that may happen at all.
struct ToolCallMove: Hashable, Sendable, CustomTestStringConvertible {
    let from: ToolCallState
    let event: ToolCallStateMachine.Event
    let to: ToolCallState?

    init(_ from: ToolCallState, _ event: ToolCallStateMachine.Event, _ to: ToolCallState?) {
        self.from = from
        self.event = event
        self.to = to
    }

    var testDescription: String { "\(event) in \(from)" }
}

private let moves: [ToolCallMove] = [
    ToolCallMove(.requested, .dispatch, .dispatching),
    ToolCallMove(.requested, .refuse, .failed),
    ToolCallMove(.requested, .withdraw, nil),
    ToolCallMove(.requested, .succeed, nil),
    ToolCallMove(.requested, .fail, nil),
    ToolCallMove(.requested, .lose, nil),
    ToolCallMove(.requested, .retry, nil),
    ToolCallMove(.requested, .cancel, .cancelled),
    ToolCallMove(.dispatching, .dispatch, .dispatching),
    ToolCallMove(.dispatching, .refuse, nil),
    ToolCallMove(.dispatching, .withdraw, .requested),
    ToolCallMove(.dispatching, .succeed, .succeeded),
    ToolCallMove(.dispatching, .fail, .failed),
    ToolCallMove(.dispatching, .lose, .unknown),
    ToolCallMove(.dispatching, .retry, nil),
    ToolCallMove(.dispatching, .cancel, .cancelled),
    ToolCallMove(.unknown, .dispatch, nil),
    ToolCallMove(.unknown, .refuse, nil),
    ToolCallMove(.unknown, .withdraw, nil),
    ToolCallMove(.unknown, .succeed, .succeeded),
    ToolCallMove(.unknown, .fail, .failed),
    ToolCallMove(.unknown, .lose, nil),
    ToolCallMove(.unknown, .retry, .requested),
    ToolCallMove(.unknown, .cancel, .cancelled),
    ToolCallMove(.succeeded, .dispatch, nil),
    ToolCallMove(.succeeded, .refuse, nil),
    ToolCallMove(.succeeded, .withdraw, nil),
    ToolCallMove(.succeeded, .succeed, nil),
    ToolCallMove(.succeeded, .fail, nil),
    ToolCallMove(.succeeded, .lose, nil),
    ToolCallMove(.succeeded, .retry, nil),
    ToolCallMove(.succeeded, .cancel, nil),
    ToolCallMove(.failed, .dispatch, nil),
    ToolCallMove(.failed, .refuse, nil),
    ToolCallMove(.failed, .withdraw, nil),
    ToolCallMove(.failed, .succeed, nil),
    ToolCallMove(.failed, .fail, nil),
    ToolCallMove(.failed, .lose, nil),
    ToolCallMove(.failed, .retry, nil),
    ToolCallMove(.failed, .cancel, nil),
    ToolCallMove(.cancelled, .dispatch, nil),
    ToolCallMove(.cancelled, .refuse, nil),
    ToolCallMove(.cancelled, .withdraw, nil),
    ToolCallMove(.cancelled, .succeed, nil),
    ToolCallMove(.cancelled, .fail, nil),
    ToolCallMove(.cancelled, .lose, nil),
    ToolCallMove(.cancelled, .retry, nil),
    ToolCallMove(.cancelled, .cancel, nil),
]

/// What a new worker does with a call that it finds: with an idempotent tool, and with another.
struct ToolCallRecovery: Sendable, CustomTestStringConvertible {
    let state: ToolCallState
    let idempotent: ToolCallStateMachine.Event?
    let other: ToolCallStateMachine.Event?

    init(
        _ state: ToolCallState, idempotent: ToolCallStateMachine.Event?, other: ToolCallStateMachine.Event?
    ) {
        self.state = state
        self.idempotent = idempotent
        self.other = other
    }

    var testDescription: String { "\(state)" }
}

private let recoveries: [ToolCallRecovery] = [
    ToolCallRecovery(.requested, idempotent: .dispatch, other: .dispatch),
    ToolCallRecovery(.dispatching, idempotent: .dispatch, other: .lose),
    ToolCallRecovery(.unknown, idempotent: nil, other: nil),
    ToolCallRecovery(.succeeded, idempotent: nil, other: nil),
    ToolCallRecovery(.failed, idempotent: nil, other: nil),
    ToolCallRecovery(.cancelled, idempotent: nil, other: nil),
]

@Suite("Tool call state machine")
struct ToolCallStateMachineTests {
    @Test("An event moves a tool call as the table says, or is not allowed", arguments: moves)
    func table(move: ToolCallMove) {
        #expect(ToolCallStateMachine.state(after: move.event, in: move.from) == move.to)
    }

    @Test("The table holds every event in every state")
    func isComplete() {
        let expected = ToolCallState.allCases.count * ToolCallStateMachine.Event.allCases.count
        #expect(Set(moves.map { "\($0.from) \($0.event)" }).count == expected)
        #expect(recoveries.map(\.state) == ToolCallState.allCases)
    }

    @Test("A new worker sends a call again only when it was never sent or may be sent twice", arguments: recoveries)
    func recovery(expected: ToolCallRecovery) {
        #expect(ToolCallStateMachine.recovery(of: expected.state, isIdempotent: true) == expected.idempotent)
        #expect(ToolCallStateMachine.recovery(of: expected.state, isIdempotent: false) == expected.other)
    }

    @Test("What a new worker does with a call is allowed in its state", arguments: ToolCallState.allCases, [true, false])
    func recoveryIsAllowed(state: ToolCallState, isIdempotent: Bool) {
        guard let event = ToolCallStateMachine.recovery(of: state, isIdempotent: isIdempotent) else { return }
        #expect(ToolCallStateMachine.state(after: event, in: state) != nil)
    }

    @Test("Succeeded, failed and cancelled are final, the others are not", arguments: ToolCallState.allCases)
    func finality(state: ToolCallState) {
        let ends: Set<ToolCallState> = [.succeeded, .failed, .cancelled]
        #expect(state.isFinal == ends.contains(state))
    }
}
