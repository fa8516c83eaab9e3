import Foundation
import Synchronization

/// The real binary, started as a user would.
public final class SBAProcess: Sendable {
    public struct NotStarted: Error, CustomStringConvertible {
        public let description: String

        public init(description: String) { self.description = description }
    }

    public static let adminEmail = "admin@example.com"
    public static let adminPassword = "correct-horse-battery"

    /// What a finished command printed.
    public struct Output: Sendable {
        public let status: Int32
        public let standardOutput: String
        public let standardError: String
    }

    public let folder: TemporaryFolder
    private let environment: [String: String]
    private let arguments: [String]
    private let binary: String
    private let state: Mutex<(process: Process?, url: String, starts: Int)>

    /// - Parameters:
    ///   - environment: besides the path, the only variables that the binary gets.
    ///   - arguments: of `sba serve`, besides where it listens.
    ///   - binary: the one that was built with the tests, unless another is named.
    public init(
        environment: [String: String] = [:], arguments: [String] = [], folder: TemporaryFolder = TemporaryFolder(),
        binary: String? = nil
    ) {
        self.arguments = arguments
        self.binary = binary ?? Self.binary
        self.folder = folder
        self.environment = environment
        state = Mutex((nil, "", 0))
    }

    /// Beside the test bundle, or where `SBA_TEST_BINARY` says.
    public static var binary: String {
        ProcessInfo.processInfo.environment["SBA_TEST_BINARY"]
            ?? URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().path + "/sba"
    }

    /// Where the server listens: a free port at the first start, the same one afterwards.
    public var url: String { state.withLock { $0.url } }
    public var pid: Int32 { state.withLock { $0.process?.processIdentifier ?? 0 } }

    private func makeProcess(_ arguments: [String], _ more: [String: String]) -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: binary)
        process.arguments = arguments
        if self.environment["LD_PRELOAD"] != nil {
            // libfaketime moves the environment of the first process that it comes to, and Swift finds its arguments by it.
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [binary] + arguments
        }
        process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
        var environment = self.environment.merging(more) { $1 }
        let inherited = ProcessInfo.processInfo.environment
        // Coverage of the real binary counts: its profile goes where the tests' own goes.
        for name in ["PATH", "HOME", "LLVM_PROFILE_FILE"] { environment[name] = environment[name] ?? inherited[name] }
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        return process
    }

    // MARK: Serving

    /// Starts the server and waits until it says that it serves.
    public func start(timeout: Duration = .seconds(20)) async throws {
        let number = state.withLock { state in
            state.starts += 1
            return state.starts
        }
        let port = url.split(separator: ":").last.map(String.init) ?? "0"
        let process = makeProcess(
            ["serve", "--port", port, "--data-dir", folder.path + "/data"] + arguments,
            [
                "SBA_ADMIN_EMAIL": environment["SBA_ADMIN_EMAIL"] ?? Self.adminEmail,
                "SBA_ADMIN_PASSWORD": environment["SBA_ADMIN_PASSWORD"] ?? Self.adminPassword,
                "SBA_METRICS_PORT": environment["SBA_METRICS_PORT"] ?? "0",
                "SBA_SIGNIN_ADDRESS_LIMIT": environment["SBA_SIGNIN_ADDRESS_LIMIT"] ?? "10000",
            ])
        let outputPath = folder.path + "/out.\(number)"
        process.standardOutput = try Self.file(outputPath)
        process.standardError = try Self.file(folder.path + "/log.\(number)")
        try process.run()
        let deadline = ContinuousClock.now + timeout
        while ContinuousClock.now < deadline, process.isRunning {
            let output = (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? ""
            if let range = output.range(of: "https?://[0-9.:]+", options: .regularExpression) {
                state.withLock { state in (state.process, state.url) = (process, String(output[range])) }
                return
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        if process.isRunning { process.terminate() }
        throw NotStarted(description: log)
    }

    private static func file(_ path: String) throws -> FileHandle {
        guard FileManager.default.createFile(atPath: path, contents: nil) else {
            throw NotStarted(description: "cannot write \(path)")
        }
        return try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    }

    /// What the latest start logged.
    public var log: String {
        let number = state.withLock { $0.starts }
        return (try? String(contentsOfFile: folder.path + "/log.\(number)", encoding: .utf8)) ?? ""
    }

    /// SIGKILL: as if the power went.
    public func kill() async {
        await end(SIGKILL)
    }

    /// Another process on the same database, not yet started.
    public func sibling(_ arguments: String..., environment more: [String: String] = [:]) -> SBAProcess {
        SBAProcess(environment: environment.merging(more) { $1 }, arguments: arguments, binary: binary)
    }

    /// Sends a signal and does not wait for what comes of it.
    public func signal(_ signal: Int32) { Foundation.kill(pid, signal) }

    /// SIGTERM; answers the exit status.
    @discardableResult
    public func stop() async -> Int32 {
        await end(SIGTERM)
    }

    @discardableResult
    private func end(_ signal: Int32) async -> Int32 {
        guard let process = state.withLock({ $0.process }) else { return 0 }
        Foundation.kill(process.processIdentifier, signal)
        await Self.wait(for: process)
        state.withLock { $0.process = nil }
        return process.terminationStatus
    }

    private static func wait(for process: Process) async {
        // Waiting blocks: on a thread of its own.
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            Thread.detachNewThread {
                process.waitUntilExit()
                continuation.resume()
            }
        }
    }

    // MARK: Commands

    /// Runs a command to its end.
    public func run(_ arguments: String..., environment more: [String: String] = [:]) async throws -> Output {
        let process = makeProcess(arguments, more)
        let id = UUID().uuidString
        let (out, err) = (folder.path + "/\(id).out", folder.path + "/\(id).err")
        process.standardOutput = try Self.file(out)
        process.standardError = try Self.file(err)
        try process.run()
        await Self.wait(for: process)
        return Output(
            status: process.terminationStatus,
            standardOutput: try String(contentsOfFile: out, encoding: .utf8),
            standardError: try String(contentsOfFile: err, encoding: .utf8))
    }

    /// What a client command needs to sign in here.
    public var clientEnvironment: [String: String] {
        ["SBA_URL": url, "SBA_EMAIL": Self.adminEmail, "SBA_PASSWORD": Self.adminPassword]
    }

    deinit {
        if let process = state.withLock({ $0.process }), process.isRunning {
            Foundation.kill(process.processIdentifier, SIGKILL)
        }
    }
}
