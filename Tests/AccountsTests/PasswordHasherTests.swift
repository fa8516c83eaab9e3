import Accounts
import Domain
import Foundation
import Testing

private let password = "correct horse battery staple"
private let hasher = PasswordHasher()
/// A hash costs seconds where nothing is optimised: one serves several tests.
private let storedHash = Task { try await hasher.hash(password) }

/// What is no hash of ours.
private let damaged = ["", password, "scrypt$15$8$3$!!!$!!!"]

@Suite("Passwords", .serialized, .timeLimit(.minutes(5)))
struct PasswordHasherTests {
    @Test(
        "The right password is right, another is wrong",
        arguments: [(password, true), ("Correct horse battery staple", false), ("correct horse battery staple ", false)])
    func verifies(given: String, expected: Bool) async throws {
        let stored = try await storedHash.value
        let isRight = try await hasher.verify(given, against: stored)
        #expect(isRight == expected)
    }

    @Test("A hash names its costs, and has a salt of 16 and a hash of 32 bytes of its own")
    func form() async throws {
        let first = try await storedHash.value.split(separator: "$").map(String.init)
        let second = try await hasher.hash(password).split(separator: "$").map(String.init)
        try #require(first.count == 6 && second.count == 6)
        #expect(Array(first.prefix(4)) == ["scrypt", "15", "8", "3"])
        #expect(Data(base64Encoded: first[4])?.count == 16)
        #expect(Data(base64Encoded: first[5])?.count == 32)
        #expect(first[4] != second[4])
        #expect(first[5] != second[5])
    }

    @Test("Without a stored hash every password is wrong, and it takes as long to say so")
    func noStoredHash() async throws {
        let started = ContinuousClock.now
        _ = try await hasher.hash(password)
        let hashed = ContinuousClock.now
        let isRight = try await hasher.verify(password, against: nil)
        let spent = ContinuousClock.now - hashed
        let usual = hashed - started
        #expect(!isRight)
        #expect(spent > usual / 10)
    }

    @Test("No password fits what is no hash", arguments: damaged)
    func damagedHash(stored: String) async throws {
        let isRight = try await hasher.verify(password, against: stored)
        #expect(!isRight)
    }

    @Test("A hash that was cut short fits no password")
    func cutHash() async throws {
        let parts = try await storedHash.value.split(separator: "$").map(String.init)
        try #require(parts.count == 6)
        let cut = (parts.prefix(5) + [String(parts[5].prefix(8))]).joined(separator: "$")
        let isRight = try await hasher.verify(password, against: cut)
        #expect(!isRight)
    }

    @Test("When too many are wanted at once, some are refused as overloaded and the others done")
    func overloaded() async {
        let outcomes = await withTaskGroup(of: Result<String, any Error>.self) { group in
            for _ in 0..<40 {
                group.addTask {
                    do { return .success(try await hasher.hash(password)) } catch { return .failure(error) }
                }
            }
            var outcomes: [Result<String, any Error>] = []
            for await outcome in group { outcomes.append(outcome) }
            return outcomes
        }
        let hashes = outcomes.compactMap { try? $0.get() }
        let problems = outcomes.compactMap { outcome -> Problem? in
            if case .failure(let error) = outcome { return error as? Problem }
            return nil
        }
        #expect(!problems.isEmpty)
        #expect(problems.allSatisfy { $0.code == .overloaded && $0.retryAfter == .seconds(2) })
        // How many are done in time depends on what else the machine does: the threads yield to everything.
        #expect(hashes.count >= 2)
        #expect(hashes.count + problems.count == 40)
        #expect(Set(hashes).count == hashes.count)
    }

    @Test("An empty password is wrong, and does not end the process")
    func emptyPassword() async {
        await #expect(processExitsWith: .success) {
            let isRight = try await PasswordHasher().verify("", against: nil)
            #expect(!isRight)
        }
    }
}
