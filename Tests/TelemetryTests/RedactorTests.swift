import Telemetry
import Testing

/// A line, and the same line without its secret.
private let secrets: [(String, String)] = [
    ("token eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl end", "token [redacted] end"),
    ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "[redacted]"),
    ("Authorization: Bearer abcdef123456", "Authorization: [redacted]"),
    ("authorization: bearer  AbC-d.e_f~g+h/i=", "authorization: [redacted]"),
    ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization: [redacted]"),
    ("key sk-proj-abcdefghijklmnop1234 used", "key [redacted] used"),
    ("sk-ant-api03-abcdefghijklmnop", "[redacted]"),
    ("sk_live_abcdefghijklmnop", "[redacted]"),
    ("pk_test_abcdefghijklmnop", "[redacted]"),
    ("rk_live_abcdefghijklmnop", "[redacted]"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted]"),
    ("gho_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted]"),
    ("xoxb-123456789012-abcdefghijkl", "[redacted]"),
    ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
    ("key sba_dppxWLvDwHzaKv3Im5vAjBAmAJ-lB4QL-56IvEqIujA used", "key [redacted] used"),
    ("sbr_dppxWLvDwHzaKv3Im5vAjBAmAJ-lB4QL-56IvEqIujA", "[redacted]"),
    ("whsec_dppxWLvDwHzaKv3Im5vAjBAmAJ+lB4QL56IvEqIujA=", "[redacted]"),
    ("-----BEGIN PRIVATE KEY-----\nMIGH\nAgEA\n-----END PRIVATE KEY----- end", "[redacted] end"),
    ("postgres://sba:hunter2@db:5432/sba", "postgres://[redacted]@db:5432/sba"),
    ("redis://:hunter2@cache:6379", "redis://[redacted]@cache:6379"),
    ("mail to ada.lovelace+x@example.co.uk failed", "mail to [redacted] failed"),
    ("card 4111111111111111.", "card [redacted]."),
    ("card 4111-1111-1111-1111, 4111 1111 1111 1111", "card [redacted], [redacted]"),
    ("paid by 4111 1111 1111 1111 today", "paid by [redacted] today"),
    ("a@example.com and b@example.org", "[redacted] and [redacted]"),
]

private let redactedLines = secrets.map { $0.1 }

private let harmlessLines = [
    "", "The run left its worker.", "GET /api/runs/0192f3a1-7b2c-7def-8123-456789abcdef 200 in 12.5 ms",
    "2026-11-20T17:14:10.123Z started on 127.0.0.1:8080", "https://example.com/a?b=c#d", "user@localhost", "a @ b", "@swift",
    "4111 1111 1111 is too short", "v1.2.3-beta.4+build.5", "Bearer", "basic", "sk-short", "the token expired",
    "traceparent 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "BEGIN IMMEDIATE", "key: value",
    "eyJ is how a token begins", "-----BEGIN CERTIFICATE----- MIIB -----END CERTIFICATE-----",
]

/// Lines of words and ids in which nothing is secret, though they come close to what is.
private let closeLines = [
    "the basic configuration is missing", "Basic authentication is switched off", "a bearer credential was expected",
    "sba_tool_calls_total was registered twice", "skipping-the-migration-step", "pkill-everything-that-runs",
    "run 0192f3a1-7b2c-7def-8123-456789012345 ended",
]

private let secretKeys = [
    "password", "Password", "passwd", "client_secret", "token", "accessToken", "refresh-token", "Authorization",
    "proxy-authorization", "Cookie", "set-cookie", "api_key", "X-API-Key", "apikey", "credentials", "private_key",
    "PRIVATE-KEY", "email", "user_email", "prompt",
]

private let plainKeys = [
    "", "run_id", "tenant_id", "request_id", "trace_id", "path", "status", "error", "attempt", "key", "user", "author",
    "private", "keys",
]

@Suite("Redactor")
struct RedactorTests {
    @Test("What looks secret is taken out, and the rest of the line stays", arguments: secrets)
    func takesOut(line: String, expected: String) {
        #expect(Redactor().redacted(line) == expected)
    }

    @Test("A secret between other words is found wherever it stands", arguments: secrets)
    func insideText(line: String, expected: String) {
        #expect(Redactor().redacted("before\n\(line)\nafter") == "before\n\(expected)\nafter")
    }

    @Test("A harmless line stays as it is", arguments: harmlessLines)
    func leaves(line: String) {
        #expect(Redactor().redacted(line) == line)
    }

    @Test("Ordinary words, our own metrics and ids are no secrets", arguments: closeLines)
    func leavesWords(line: String) {
        #expect(Redactor().redacted(line) == line)
    }

    @Test("A private key whose end was cut off is taken out to the end")
    func cutKey() {
        #expect(Redactor().redacted("key: -----BEGIN EC PRIVATE KEY-----\nMIGH\nAgEA") == "key: [redacted]")
    }

    @Test("What was redacted once is not changed again", arguments: redactedLines)
    func idempotence(line: String) {
        #expect(Redactor().redacted(line) == line)
    }

    @Test("A key that names a secret is secret, in every spelling", arguments: secretKeys)
    func secretKey(key: String) {
        #expect(Redactor().isSecret(key: key))
    }

    @Test("Another key is not", arguments: plainKeys)
    func plainKey(key: String) {
        #expect(!Redactor().isSecret(key: key))
    }
}
