import Domain
import Foundation
import Models
import Testing

@testable import Agents

private let instant = Timestamp(microseconds: 0)
private let modelStep = StepID(UUID())

private func step(
    _ index: Int, _ kind: RunStep.Kind, toolCall: String? = nil, status: RunStep.Status = .finished,
    output: ModelTurn? = nil
) -> RunStep {
    RunStep(
        id: StepID(UUID()), index: index, kind: kind, toolCall: toolCall, status: status, output: output,
        startedAt: instant)
}

private func call(
    _ id: String, _ state: ToolCallState = .requested, ordinal: Int = 0, result: String? = nil
) -> ToolCallRecord {
    ToolCallRecord(
        id: id, step: modelStep, ordinal: ordinal, name: "f", arguments: "{}", state: state, result: result,
        createdAt: instant)
}

private func said(_ text: String, _ calls: String...) -> ModelTurn { ModelTurn(text: text, toolCalls: calls) }

private func plan(_ steps: [RunStep], _ calls: [ToolCallRecord] = [], limit: Int = 20) -> RunPlan {
    RunPlan(steps: steps, toolCalls: calls, stepLimit: limit)
}

@Suite("What a run does next")
struct RunPlanNextTests {
    @Test("A new run asks the model")
    func begins() {
        #expect(plan([]).next == .callModel(index: 1))
    }

    @Test("A turn that asks for nothing is the answer")
    func finishes() {
        #expect(plan([step(1, .model, output: said("Four."))]).next == .finish(text: "Four."))
    }

    @Test("The calls of a turn are made in order, each that has not ended")
    func callsTools() {
        let steps = [step(1, .model, output: said("", "a", "b")), step(2, .tool, toolCall: "a")]
        let second = call("b", ordinal: 1)
        #expect(plan(Array(steps.prefix(1)), [call("a"), second]).next == .callTool(call("a")))
        #expect(plan(steps, [call("a", .succeeded), second]).next == .callTool(second))
    }

    @Test("Once every call has ended, the model is asked again", arguments: [ToolCallState.succeeded, .failed, .cancelled])
    func asksAgain(state: ToolCallState) {
        let steps = [step(1, .model, output: said("", "a")), step(2, .tool, toolCall: "a")]
        #expect(plan(steps, [call("a", state)]).next == .callModel(index: 3))
    }

    @Test("A model step that was begun is gone on with, under its own place")
    func resumesModelStep() {
        let steps = [
            step(1, .model, output: said("", "a")), step(2, .tool, toolCall: "a"), step(3, .model, status: .started),
        ]
        #expect(plan(steps, [call("a", .succeeded)]).next == .callModel(index: 3))
    }

    @Test("A tool step that was begun is gone on with", arguments: [ToolCallState.requested, .dispatching])
    func resumesToolStep(state: ToolCallState) {
        let steps = [step(1, .model, output: said("", "a", "b")), step(2, .tool, toolCall: "b", status: .started)]
        let open = call("b", state, ordinal: 1)
        #expect(plan(steps, [call("a"), open]).next == .callTool(open))
    }

    @Test("A result that a person gave while the step was open joins the log", arguments: [ToolCallState.succeeded, .failed])
    func recordsResult(state: ToolCallState) {
        let steps = [step(1, .model, output: said("", "a")), step(2, .tool, toolCall: "a", status: .started)]
        let settled = call("a", state, result: "4")
        #expect(plan(steps, [settled]).next == .recordResult(settled))
    }

    @Test("A call of unknown outcome waits for a person before anything else is done")
    func waits() {
        let steps = [step(1, .model, output: said("", "a", "b")), step(2, .tool, toolCall: "a", status: .started)]
        let unknown = call("b", .unknown, ordinal: 1)
        #expect(plan(steps, [call("a"), unknown]).next == .wait(unknown))
    }

    @Test(
        "A run that has used its steps stops, before a call as before a model",
        arguments: [ToolCallState.requested, .succeeded])
    func stops(state: ToolCallState) {
        let steps = [step(1, .model, output: said("", "a"))]
        #expect(plan(steps, [call("a", state)], limit: 1).next == .stop)
    }

    @Test("An answer in the last step counts")
    func finishesInLastStep() {
        #expect(plan([step(1, .model, output: said("Done."))], limit: 1).next == .finish(text: "Done."))
    }

    @Test("A step that was begun within the limit is ended")
    func endsOpenStep() {
        #expect(plan([step(1, .model, status: .started)], limit: 1).next == .callModel(index: 1))
    }

    @Test("A new step has the next place, and is a tool's when it makes a call")
    func newStep() {
        let current = plan([step(1, .model, output: said("", "a"))], [call("a")])
        let tool = current.newStep(toolCall: "a", id: modelStep, at: instant)
        #expect(tool.name == "tool-2")
        #expect(tool.toolCall == "a")
        #expect(tool.status == .started)
        #expect(current.newStep(toolCall: nil, id: modelStep, at: instant).name == "model-2")
    }
}

@Suite("What the model is told")
struct RunPlanMessagesTests {
    @Test("Instructions, the session's messages and the prompt come in this order")
    func beginning() {
        let history = [SessionMessage(role: .user, text: "Hi"), SessionMessage(role: .assistant, text: "Hello")]
        let messages = plan([]).messages(instructions: "Be brief.", history: history, prompt: "2 + 2?")
        let expected: [ChatMessage] = [
            .system("Be brief."), .user("Hi"), .assistant(text: "Hello", toolCalls: []), .user("2 + 2?"),
        ]
        #expect(messages == expected)
    }

    @Test("Without instructions there is no system message")
    func noInstructions() {
        let expected: [ChatMessage] = [.user("2 + 2?")]
        #expect(plan([]).messages(instructions: nil, history: [], prompt: "2 + 2?") == expected)
    }

    @Test("A turn is told with its calls, each followed by its result, in the order of the turn")
    func turns() {
        let steps = [
            step(1, .model, output: said("Let me see.", "b", "a")), step(2, .tool, toolCall: "b"),
            step(3, .tool, toolCall: "a"), step(4, .model, output: said("Four.")),
        ]
        let calls = [call("a", .succeeded, ordinal: 1, result: "4"), call("b", .failed, result: "{}")]
        let messages = plan(steps, calls).messages(instructions: nil, history: [], prompt: "?")
        let expected: [ChatMessage] = [
            .user("?"),
            .assistant(
                text: "Let me see.",
                toolCalls: [
                    ToolCall(id: "b", name: "f", arguments: "{}"), ToolCall(id: "a", name: "f", arguments: "{}"),
                ]),
            .tool(callID: "b", name: "f", content: "{}"),
            .tool(callID: "a", name: "f", content: "4"),
            .assistant(text: "Four.", toolCalls: []),
        ]
        #expect(messages == expected)
    }

    @Test("A step that has not ended, or was abandoned, is not told", arguments: [RunStep.Status.started, .abandoned])
    func unfinishedSteps(status: RunStep.Status) {
        let steps = [step(1, .model, status: status, output: said("Half a sen"))]
        let expected: [ChatMessage] = [.user("?")]
        #expect(plan(steps).messages(instructions: nil, history: [], prompt: "?") == expected)
    }

    @Test("A call without a result is answered by an empty text, so that every call has an answer")
    func missingResult() {
        let steps = [step(1, .model, output: said("", "a"))]
        let messages = plan(steps, [call("a", .cancelled)]).messages(instructions: nil, history: [], prompt: "?")
        #expect(messages.last == .tool(callID: "a", name: "f", content: ""))
    }
}
