import Accounts
import Domain
import Foundation

/// The folder of the embedded database: private to its user, and held by one process at a time.
struct DataDirectory: ~Copyable {
    let path: String
    private let lock: Int32

    var database: String { path + "/sba.sqlite" }
    var mail: String { path + "/mail" }

    /// Makes the folder when it is missing, and locks it until the value ends.
    ///
    /// - Throws: `Problem` with `storage_unavailable` that says what is in the way.
    init(_ path: String) throws(Problem) {
        lock = try Self.lock(path)
        self.path = path
    }

    private static func lock(_ path: String) throws(Problem) -> Int32 {
        guard isOurs(path) else {
            throw Problem(.storageUnavailable, "The data folder '\(path)' holds other files. Name an empty or a new one.")
        }
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw Problem(.storageUnavailable, "The data folder '\(path)' cannot be made: \(error.localizedDescription)")
        }
        let lock = open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard lock >= 0 else {
            throw Problem(.storageUnavailable, "The data folder '\(path)' cannot be written.")
        }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw Problem(.storageUnavailable, "Another sba process holds the data folder '\(path)'. Stop it first.")
        }
        guard chmod(path, 0o700) == 0 else {
            close(lock)
            throw Problem(.storageUnavailable, "The data folder '\(path)' belongs to another user. Name one of your own.")
        }
        return lock
    }

    /// A folder with other things in it is somebody's: its rights are not ours to change. A new file system is empty but
    /// for `lost+found`; a restored backup has our database.
    private static func isOurs(_ path: String) -> Bool {
        let files = Set((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [])
        return files.isSubset(of: ["lost+found", "lock"]) || files.contains("sba.sqlite") || files.contains("secret.key")
    }

    deinit { close(lock) }

    private var secretFile: String { path + "/secret.key" }
    private var nextSecretFile: String { path + "/secret.key.next" }

    /// The master secret: as configured, else from the folder, where it is made the first time.
    func secret(configured: String?) throws -> String {
        if let configured { return configured }
        if let stored = try read(secretFile) { return stored }
        let made = SecretSealer.makeSecret()
        try write(made + "\n", to: secretFile)
        return made
    }

    /// The secret that a rotation which was interrupted was about to bring; what it has sealed opens with it only.
    func unfinishedSecret() throws -> String? { try read(nextSecretFile) }

    /// The present secret, and the one that is to take its place, which is made unless an earlier rotation has made it.
    func nextSecret() throws -> (old: String, new: String) {
        let old = try secret(configured: nil)
        if let new = try read(nextSecretFile) { return (old, new) }
        let new = SecretSealer.makeSecret()
        try write(new + "\n", to: nextSecretFile)
        return (old, new)
    }

    /// Puts the next secret in place of the present one.
    func takeNextSecret() throws {
        guard rename(nextSecretFile, secretFile) == 0 else {
            throw Problem(.storageUnavailable, "'\(nextSecretFile)' cannot be renamed to '\(secretFile)'. Do it by hand.")
        }
        syncFolder()
    }

    /// What was renamed is still so after a power cut.
    private func syncFolder() {
        let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return }
        fsync(folder)
        close(folder)
    }

    private func read(_ file: String) throws -> String? {
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        let stored = try String(contentsOfFile: file, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
        guard stored.count >= SecretSealer.minimumKeyCharacters else {
            throw Problem(.storageUnavailable, "'\(file)' holds no usable key. Restore it, or set SBA_SECRET_KEY.")
        }
        return stored
    }

    /// Writes a private file whole or not at all.
    private func write(_ text: String, to file: String) throws {
        let descriptor = open(file + ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Problem(.storageUnavailable, "'\(file)' cannot be written.") }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try handle.write(contentsOf: Data(text.utf8))
        try handle.synchronize()
        guard rename(file + ".new", file) == 0 else {
            throw Problem(.storageUnavailable, "'\(file)' cannot be written.")
        }
        syncFolder()
    }
}
