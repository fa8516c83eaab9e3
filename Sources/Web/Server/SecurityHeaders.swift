import HTTPTypes

/// What every answer tells browsers, errors included.
enum SecurityHeaders {
    private static let strictTransport = "max-age=31536000; includeSubDomains"
    private static let contentSecurity = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

    /// Sets what is not set already: a page of ours says what it needs itself.
    ///
    /// - Parameter isSecure: the client came by TLS.
    static func apply(to headers: inout HTTPFields, isSecure: Bool) {
        headers[.xContentTypeOptions] = "nosniff"
        headers[.referrerPolicy] = "no-referrer"
        if headers[.contentSecurityPolicy] == nil { headers[.contentSecurityPolicy] = contentSecurity }
        if headers[.cacheControl] == nil { headers[.cacheControl] = "no-store" }
        if isSecure { headers[.strictTransportSecurity] = strictTransport }
    }
}

extension HTTPField.Name {
    // A constant of the right form.
    static let referrerPolicy = HTTPField.Name("Referrer-Policy").unsafelyUnwrapped
}
