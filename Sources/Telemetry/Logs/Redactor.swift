import Foundation

/// Takes secrets and personal data out of log lines: by the key they stand under, and by what they look like.
public struct Redactor: Sendable {
    public static let mark = "[redacted]"

    public init() {}

    /// Keys under which nothing is ever logged, compared without case, `-` and `_`, and anywhere in the key.
    private static let secretKeys = [
        "password", "passwd", "secret", "token", "authorization", "cookie", "apikey", "credential", "privatekey",
        "email", "prompt",
    ]

    /// What looks like a secret or like a person, wherever it stands.
    private static let patterns: [NSRegularExpression] = [
        // JSON Web Tokens
        #"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"#,
        // Authorization values
        #"(?i)\b(?:bearer|basic)\s+(?=[A-Za-z_~-]*[0-9.+/=])[A-Za-z0-9._~+/=-]{8,}"#,
        // Keys of the usual providers
        #"\b(?:(?:sk|pk|rk|gh[pousr]|xox[abpr])[-_][A-Za-z0-9_-]{16,}|AKIA[A-Z0-9]{16})"#,
        // API keys, refresh tokens, invitations and password resets of our own, longer than any metric's name
        #"\bsb[arip]_[A-Za-z0-9_-]{40,}"#,
        // Secrets of webhooks
        #"\bwhsec_[A-Za-z0-9+/=]{24,}"#,
        // PEM blocks
        #"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"#,
        // Passwords in URLs
        #"(?<=://)[^/\s:@\[]*:[^/\s@]+(?=@)"#,
        // Addresses (RFC 5322, as far as they are common)
        #"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"#,
        // Payment cards
        #"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])"#,
    ].map { pattern in
        // The patterns are constants; a wrong one fails the first test that logs.
        // swift-format-ignore: NeverUseForceTry
        try! NSRegularExpression(pattern: pattern)
    }

    public func isSecret(key: String) -> Bool {
        let plain = key.lowercased().filter { $0 != "-" && $0 != "_" }
        return Self.secretKeys.contains { plain.contains($0) }
    }

    /// The text without what looks secret.
    public func redacted(_ text: String) -> String {
        guard Self.isWorthLooking(text) else { return text }
        var result = text
        for pattern in Self.patterns {
            let range = NSRange(result.startIndex..., in: result)
            result = pattern.stringByReplacingMatches(in: result, range: range, withTemplate: Self.mark)
        }
        return result
    }

    /// Every pattern needs one of these: most lines have none, and pay nothing.
    private static func isWorthLooking(_ text: String) -> Bool {
        var digits = 0
        for byte in text.utf8 {
            if byte == UInt8(ascii: "@") { return true }
            if (48...57).contains(byte) { digits += 1 }
        }
        if digits >= 13 { return true }
        let lowercased = text.lowercased()
        return [
            "eyj", "bearer", "basic", "sk", "pk", "rk", "gh", "xox", "akia", "begin", "sba_", "sbr_", "sbi_", "sbp_", "whsec_",
        ].contains {
            lowercased.contains($0)
        }
    }
}
