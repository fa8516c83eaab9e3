import Domain
import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Watches one connection below the router: answers what is not HTTP with a problem document, gives up on clients that do
/// not finish their headers or do not take their answer, closes idle connections, and tells a stream that its client left.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    struct Bounds {
        /// The headers of a connection's first request.
        var headers: TimeAmount = .seconds(15)
        /// Between two requests.
        var idle: TimeAmount = .seconds(75)
        /// For the rest of a request that was answered before it had come whole.
        var rest: TimeAmount = .seconds(2)
        /// One piece of an answer, in the client's hands.
        var write: TimeAmount = .seconds(60)
    }

    private let bounds: Bounds
    /// Clients come by TLS.
    private let isSecure: Bool
    private var timer: Scheduled<Void>?
    private var writeTimer: Scheduled<Void>?
    /// Requests that have come and are not answered; a client may send the next before that.
    private var serving = 0
    private var isReceiving = false
    private var hasResponseBegun = false
    private var isFirst = true
    private var unwritten = 0
    /// The client has closed its side.
    private var hasLeft = false
    /// Told once when the client leaves before the answer that is being written has ended.
    private var leave: (@Sendable () -> Void)?

    init(isSecure: Bool = false, bounds: Bounds = Bounds()) {
        self.isSecure = isSecure
        self.bounds = bounds
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { waitForHead(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        waitForHead(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        writeTimer?.cancel()
        noteLeave()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent { noteLeave() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            if head.headerFields[.expect]?.lowercased() == "100-continue" { invite(context) }
            timer?.cancel()
            serving += 1
            isReceiving = true
            isFirst = false
        case .body: break
        case .end: isReceiving = false
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let part = unwrapOutboundIn(data)
        if case .head(let head) = part, head.status.kind != .informational { hasResponseBegun = true }
        let written = promise ?? context.eventLoop.makePromise(of: Void.self)
        watchWrite(written.futureResult, context)
        context.write(data, promise: written)
        if case .end = part {
            serving -= 1
            hasResponseBegun = false
            leave = nil
            if isReceiving { closeSoon(context) } else if serving == 0 { waitForHead(context) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let parserError = error as? HTTPParserError else { return context.fireErrorCaught(error) }
        let isOverflow = parserError == .headerOverflow
        let problem =
            isOverflow
            ? Problem(
                .headersTooLarge,
                "The request's line and headers may have at most \(WebServer.maximumHeaderBytes) bytes in \(WebServer.maximumHeaderCount) fields."
            )
            : Problem(.malformedHTTP, "The request could not be read as HTTP/1.1.")
        refuse(problem, context)
    }

    /// Tells a client that waits for it to send its body (RFC 9110, section 10.1.1).
    private func invite(_ context: ChannelHandlerContext) {
        guard !hasResponseBegun else { return }
        context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
    }

    // MARK: Leave

    /// Calls `leave` once when the client of the answer that is being written on this channel leaves before its end.
    static func onLeave(of channel: any Channel, _ leave: @escaping @Sendable () -> Void) {
        channel.eventLoop.execute {
            guard let handler = try? channel.pipeline.syncOperations.handler(type: ConnectionGuard.self), !handler.hasLeft
            else { return leave() }
            handler.leave = leave
        }
    }

    private func noteLeave() {
        hasLeft = true
        leave?()
        leave = nil
    }

    // MARK: Bounds

    private func waitForHead(_ context: ChannelHandlerContext) {
        timer?.cancel()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: isFirst ? bounds.headers : bounds.idle) {
            let (handler, context) = bound.value
            guard handler.serving == 0 else { return }
            if handler.isFirst {
                handler.refuse(Problem(.requestTimeout, "The headers of the request did not arrive in time."), context)
            } else {
                context.close(promise: nil)
            }
        }
    }

    /// Gives the client time to read its early answer, then ends the connection: what it still sends is not wanted.
    private func closeSoon(_ context: ChannelHandlerContext) {
        timer?.cancel()
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: bounds.rest) { bound.value.close(promise: nil) }
    }

    /// Closes the connection when nothing is taken of what is written.
    private func watchWrite(_ written: EventLoopFuture<Void>, _ context: ChannelHandlerContext) {
        unwritten += 1
        if unwritten == 1 { startWriteTimer(context) }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        written.whenComplete { _ in
            let (handler, context) = bound.value
            handler.unwritten -= 1
            handler.writeTimer?.cancel()
            if handler.unwritten > 0 { handler.startWriteTimer(context) }
        }
    }

    private func startWriteTimer(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        writeTimer = context.eventLoop.scheduleTask(in: bounds.write) { bound.value.close(promise: nil) }
    }

    /// Answers once and closes; an answer that has begun is cut off.
    private func refuse(_ problem: Problem, _ context: ChannelHandlerContext) {
        guard !hasResponseBegun else { return context.close(promise: nil) }
        hasResponseBegun = true
        let body = ByteBuffer(string: problem.json(requestID: "-").text)
        var headers = problem.headers()
        headers[.contentLength] = String(body.readableBytes)
        // A stream of HTTP/2 has a connection above it, which is not its own to close, and no such header.
        if context.channel.parent?.parent == nil { headers[.connection] = "close" }
        SecurityHeaders.apply(to: &headers, isSecure: isSecure)
        let head = HTTPResponse(status: problem.code.http.status, headerFields: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(body)), promise: nil)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in bound.value.close(promise: nil) }
    }
}
