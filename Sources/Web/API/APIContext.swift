import Accounts
import Domain
import Hummingbird
import Logging
import NIOCore
import Synchronization

/// What a handler knows of its request.
public struct APIContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    public var trace: Trace
    /// The client's address, past proxies that are trusted.
    var address: String?
    /// The connection that the request came on.
    let channel: any Channel
    /// Who asks; set by the route's access check before the handler runs, and seen by the observer after it.
    let caller = Caller()

    public init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
        trace = Trace(requestID: "-")
        address = source.channel.remoteAddress?.ipAddress
    }

    /// Who asks. Routes that are open to everyone have nobody.
    func principal() throws(Problem) -> Principal {
        guard let authenticated = caller.principal else {
            throw Problem(.tokenMissing, "Send an access token as Authorization: Bearer ….")
        }
        return authenticated
    }

    /// Who asks and how, for the audit log.
    var requester: Requester {
        var requester = Requester(user: caller.principal?.user, address: address, requestID: trace.requestID)
        if case .apiKey(let key) = caller.principal?.credential { requester.apiKey = key }
        return requester
    }

    /// The path's `{id}`.
    func id<Entity>(_ name: String = "id") throws(Problem) -> Identifier<Entity> {
        let text = parameters.get(name) ?? ""
        guard let id = Identifier<Entity>(text) else {
            throw Problem(.invalidID, "'\(text.prefix(64))' is no id: ids are UUIDs like 019b0d0e-7c1a-7def-8123-456789abcdef.")
        }
        return id
    }
}

/// Who was found to make a request, shared by the copies of its context.
final class Caller: Sendable {
    private let state = Mutex<Principal?>(nil)

    var principal: Principal? {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}
