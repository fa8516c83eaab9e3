import Crypto
import CryptoExtras
import Domain
import Foundation

/// Hashes passwords by scrypt (RFC 7914), N = 2^15, r = 8, p = 3: 32 MiB a hash. Two at most run at once, on threads of
/// their own, and few may wait: signing in must not be a way to take the node down.
public final class PasswordHasher: Sendable {
    public static let logCost = 15
    private static let blockSize = 8
    private static let parallelism = 3
    private static let saltBytes = 16
    private static let hashBytes = 32
    private static let maximumRunning = 2
    private static let maximumWaiting = 16
    /// How long one may wait for its turn: who waited longer has gone, or soon goes.
    private static let maximumWait: Duration = .seconds(15)
    /// The threads yield to those that serve requests (setpriority(2), -20 to 19), who are then hardly slowed down.
    private static let niceness: CInt = 15
    public static let passwordLength = 10...200

    private let threads = ThreadPool<Void>(
        name: "scrypt", threads: maximumRunning, maximumWaiting: maximumWaiting,
        make: {
            // 0 is the calling thread, on Linux. Where it may not yield it works on all the same.
            _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, niceness)
        })

    private let logCost: Int

    /// - Parameter logCost: log2 of N; a hash takes twice as long and twice the memory with each more. Less than the
    ///   standard one is for tests.
    public init(logCost: Int = PasswordHasher.logCost) { self.logCost = logCost }

    public func close() { threads.close() }

    /// `scrypt$15$8$3$<salt>$<hash>`, both in base64.
    ///
    /// - Throws: `Problem` with `overloaded` when too many hashes are wanted at once.
    public func hash(_ password: String) async throws -> String {
        let salt = SymmetricKey(size: .init(bitCount: Self.saltBytes * 8)).withUnsafeBytes { Data($0) }
        let hash = try await derive(password, salt: salt, logCost)
        return "scrypt$\(logCost)$\(Self.blockSize)$\(Self.parallelism)$\(salt.base64EncodedString())$"
            + hash.base64EncodedString()
    }

    /// Whether the password gives the stored hash, in the same time whether it does or not. With no stored hash it takes
    /// the time of one and answers no: nobody learns whether an account exists.
    ///
    /// - Throws: `Problem` with `overloaded`.
    public func verify(_ password: String, against stored: String?) async throws -> Bool {
        let parts = (stored ?? "").split(separator: "$")
        guard parts.count == 6, let cost = Int(parts[1]), (1...Self.logCost).contains(cost),
            let salt = Data(base64Encoded: String(parts[4])),
            let expected = Data(base64Encoded: String(parts[5]))
        else {
            _ = try await derive(password, salt: Data(count: Self.saltBytes), logCost)
            return false
        }
        let hash = try await derive(password, salt: salt, cost)
        return zip(hash, expected).reduce(UInt8(hash.count == expected.count ? 0 : 1)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private func derive(_ password: String, salt: Data, _ logCost: Int) async throws -> Data {
        let start = ContinuousClock.now
        do {
            return try await threads.run { _ in
                guard .now - start <= Self.maximumWait else { throw Self.overloaded }
                // The library takes no empty input; a NUL stands in, which no password that was set can be.
                let input = password.isEmpty ? Data([0]) : Data(password.utf8)
                let key = try KDF.Scrypt.deriveKey(
                    from: input, salt: salt, outputByteCount: Self.hashBytes, rounds: 1 << logCost,
                    blockSize: Self.blockSize, parallelism: Self.parallelism)
                return key.withUnsafeBytes { Data($0) }
            }
        } catch is ThreadPool<Void>.Full {
            throw Self.overloaded
        }
    }

    private static let overloaded = Problem(
        .overloaded, "Too many sign-ins at once. Try again shortly.", retryAfter: .seconds(2))
}
