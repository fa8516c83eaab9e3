import NIOSSL

/// How the server meets its clients.
public struct HTTPConfiguration: Sendable {
    /// The certificate of the server and its private key, as files in PEM.
    public struct TLS: Sendable {
        public let certificateFile: String
        public let keyFile: String

        public init(certificateFile: String, keyFile: String) {
            self.certificateFile = certificateFile
            self.keyFile = keyFile
        }

        /// TLS 1.2 and later (RFC 9325), with the whole chain that the file holds.
        func configuration() throws -> TLSConfiguration {
            let chain = try NIOSSLCertificate.fromPEMFile(certificateFile).map { NIOSSLCertificateSource.certificate($0) }
            let key = try NIOSSLPrivateKey(file: keyFile, format: .pem)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain, privateKey: .privateKey(key))
            configuration.minimumTLSVersion = .tlsv12
            return configuration
        }
    }

    public static let maximumConnections = 10_000

    /// Origins whose pages may call the API for every tenant.
    public var corsOrigins: Set<String>
    public var trustedProxies: TrustedProxies
    public var tls: TLS?
    /// Connections at one time; further ones wait to be taken.
    public var maximumConnections: Int

    public init(
        corsOrigins: Set<String> = [], trustedProxies: TrustedProxies = .none, tls: TLS? = nil,
        maximumConnections: Int = HTTPConfiguration.maximumConnections
    ) {
        self.corsOrigins = corsOrigins
        self.trustedProxies = trustedProxies
        self.tls = tls
        self.maximumConnections = maximumConnections
    }

    /// Whether the text is an origin as browsers send it: `https://app.example.com`.
    public static func isOrigin(_ text: String) -> Bool { CORSPolicy.isOrigin(text) }

    /// Whether a certificate fits its key.
    ///
    /// - Throws: what is wrong with them.
    public static func check(_ tls: TLS) throws { _ = try NIOSSLContext(configuration: try tls.configuration()) }
}
