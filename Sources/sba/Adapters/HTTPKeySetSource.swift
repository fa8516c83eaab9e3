import Accounts
import Domain
import Models
import Synchronization

/// Fetches the keys of issuers over HTTP.
struct HTTPKeySetSource: KeySetSource {
    private static let timeout: Duration = .seconds(5)

    struct Refused: Error {
        let status: Int
    }

    let http: any OutgoingHTTP

    func keySet(at url: String, maximumBytes: Int) async throws -> [UInt8] {
        let request = OutgoingRequest(method: "GET", url: url, headers: [("Accept", "application/json")], body: [])
        let received = Mutex<[UInt8]>([])
        let head = try await http.exchange(request, timeouts: HTTPTimeouts(total: Self.timeout)) { _, bytes in
            let count = received.withLock { received in
                received += bytes
                return received.count
            }
            guard count <= maximumBytes else { throw Problem(.bodyTooLarge, "The keys of an issuer are too long.") }
        }
        guard head.status == 200 else { throw Refused(status: head.status) }
        return received.withLock { $0 }
    }
}
