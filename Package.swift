// swift-tools-version: 6.2
import PackageDescription

/// Settings of every target of ours: warnings are errors, existentials and imports are explicit.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let github = "https://github.com/"

extension Target.Dependency {
    static let asyncHTTPClient = product(name: "AsyncHTTPClient", package: "async-http-client")
    static let argumentParser = product(name: "ArgumentParser", package: "swift-argument-parser")
    static let configuration = product(name: "Configuration", package: "swift-configuration")
    static let crypto = product(name: "Crypto", package: "swift-crypto")
    static let cryptoExtras = product(name: "CryptoExtras", package: "swift-crypto")
    static let deque = product(name: "DequeModule", package: "swift-collections")
    static let grdb = product(name: "GRDB", package: "GRDB.swift")
    static let httpTypes = product(name: "HTTPTypes", package: "swift-http-types")
    static let hummingbird = product(name: "Hummingbird", package: "hummingbird")
    static let hummingbirdCore = product(name: "HummingbirdCore", package: "hummingbird")
    static let hummingbirdTesting = product(name: "HummingbirdTesting", package: "hummingbird")
    static let hummingbirdHTTP2 = product(name: "HummingbirdHTTP2", package: "hummingbird")
    static let jwtKit = product(name: "JWTKit", package: "jwt-kit")
    static let logging = product(name: "Logging", package: "swift-log")
    static let metrics = product(name: "Metrics", package: "swift-metrics")
    static let coreMetrics = product(name: "CoreMetrics", package: "swift-metrics")
    static let nioCore = product(name: "NIOCore", package: "swift-nio")
    static let nioHTTP1 = product(name: "NIOHTTP1", package: "swift-nio")
    static let nioHTTPTypes = product(name: "NIOHTTPTypes", package: "swift-nio-extras")
    static let nioSSL = product(name: "NIOSSL", package: "swift-nio-ssl")
    static let systemPackage = product(name: "SystemPackage", package: "swift-system")
    static let nioPosix = product(name: "NIOPosix", package: "swift-nio")
    static let serviceLifecycle = product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
    static let unixSignals = product(name: "UnixSignals", package: "swift-service-lifecycle")
}

/// A library target of ours: strict settings, and a test target of its own beside it.
func library(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name + "Tests", dependencies: dependencies, swiftSettings: strict)
}

let package = Package(
    name: "sba-agentic",
    platforms: [.macOS(.v15)],
    products: [.executable(name: "sba", targets: ["sba"])],
    dependencies: [
        .package(url: github + "apple/swift-argument-parser", from: "1.8.2"),
        .package(url: github + "apple/swift-collections", from: "1.6.0"),
        .package(url: github + "apple/swift-configuration", from: "1.4.0", traits: [.defaults, "YAML"]),
        .package(url: github + "apple/swift-crypto", from: "4.5.2"),
        .package(url: github + "apple/swift-http-types", from: "1.8.0"),
        .package(url: github + "apple/swift-log", from: "1.16.2"),
        .package(url: github + "apple/swift-metrics", from: "2.13.0"),
        .package(url: github + "apple/swift-nio", from: "2.101.2"),
        .package(url: github + "apple/swift-nio-extras", from: "1.35.2"),
        .package(url: github + "apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: github + "apple/swift-system", from: "1.8.1"),
        .package(url: github + "groue/GRDB.swift", from: "7.10.0"),
        .package(url: github + "hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: github + "swift-server/async-http-client", from: "1.37.0"),
        .package(url: github + "swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: github + "vapor/jwt-kit", from: "5.7.1"),
    ],
    targets: [
        .systemLibrary(name: "CLibXML2", pkgConfig: "libxml-2.0", providers: [.apt(["libxml2-dev"])]),
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        library("Domain", []),
        library("Queue", ["Domain", .serviceLifecycle, .logging, .metrics]),
        library("Models", ["Domain", .asyncHTTPClient, .nioCore, .nioHTTP1, .nioPosix, .logging]),
        // glibc's mallopt, which Swift's Glibc module leaves out.
        .systemLibrary(name: "CMalloc"),
        .target(name: "CHTMLReader", dependencies: ["CLibXML2"]),
        library("Knowledge", ["Domain", "CHTMLReader"]),
        library("Agents", ["Domain", "Queue", "Models", "Knowledge", .logging, .metrics]),
        library("Accounts", ["Domain", .crypto, .cryptoExtras, .jwtKit]),
        library("Operations", ["Domain", "Queue", "Accounts", .logging, .metrics]),
        library(
            "Automation",
            ["Domain", "Queue", "Models", "Agents", "Accounts", .crypto, .logging, .metrics]),
        library("Coordination", ["Domain"]),
        library(
            "Storage",
            [
                "Domain", "Queue", "Knowledge", "Agents", "Accounts", "Operations", "Automation", "CLibPQ", .deque, .grdb,
                .logging, .metrics,
            ],
            resources: [.embedInCode("Migrations/SQL")]),
        library("Telemetry", ["Domain", .logging, .coreMetrics]),
        library(
            "Web",
            [
                "Domain", "Queue", "Knowledge", "Agents", "Accounts", "Operations", "Automation", .hummingbird, .hummingbirdCore,
                .hummingbirdHTTP2, .httpTypes,
                .nioCore, .nioHTTP1, .nioHTTPTypes, .nioSSL, .crypto, .logging,
                .metrics, .serviceLifecycle,
            ],
            resources: [.embedInCode("Documentation/viewer.html")]),
        .executableTarget(
            name: "sba",
            dependencies: [
                "Domain", "Queue", "Models", "Knowledge", "Agents", "Accounts", "Operations", "Automation", "Coordination",
                "Storage", "Telemetry", "Web", "CMalloc", .argumentParser, .configuration, .systemPackage, .asyncHTTPClient,
                .nioCore,
                .hummingbird,
                .logging, .coreMetrics, .serviceLifecycle, .unixSignals,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "StorageBench",
            dependencies: [
                "Domain", "Queue", "Agents", "Accounts", "Operations", "Storage", .argumentParser, .logging, .serviceLifecycle,
            ],
            path: "Benchmarks/StorageBench",
            swiftSettings: strict),
        .target(
            name: "TestSupport",
            dependencies: [
                "Domain", "Queue", "Models", "Knowledge", "Agents", "Accounts", "Operations", "Automation", "Storage",
                .hummingbird,
                .nioCore, .nioHTTP1, .httpTypes, .asyncHTTPClient, .logging, .serviceLifecycle,
            ],
            path: "Tests/TestSupport",
            swiftSettings: strict),
        tests("Domain", ["Domain"]),
        tests("Queue", ["Queue", "Domain", "Operations", "Storage", "TestSupport", .logging, .serviceLifecycle]),
        tests("Models", ["Models", "Domain", "TestSupport", .asyncHTTPClient, .logging]),
        tests("Knowledge", ["Knowledge", "Domain", "Storage", "TestSupport"]),
        tests(
            "Agents", ["Agents", "Domain", "Queue", "Models", "Knowledge", "Coordination", "Storage", "TestSupport", .logging]),
        tests("Accounts", ["Accounts", "Domain", "Storage", "TestSupport", .crypto]),
        tests(
            "Automation",
            [
                "Automation", "Domain", "Queue", "Models", "Agents", "Accounts", "Coordination", "Storage", "TestSupport",
                .hummingbird, .httpTypes, .nioCore, .logging, .crypto,
            ]),
        tests("Coordination", ["Coordination", "Domain", "TestSupport"]),
        tests(
            "Storage",
            [
                "Storage", "Domain", "Queue", "Agents", "Knowledge", "Accounts", "Operations", "Automation", "TestSupport", .grdb,
                .logging,
            ]),
        tests("Telemetry", ["Telemetry", "Domain", .logging, .coreMetrics]),
        tests(
            "Web",
            [
                "Web", "Domain", "Queue", "Models", "Agents", "Knowledge", "Accounts", "Operations", "Automation", "Coordination",
                "Storage", "Telemetry", "TestSupport", .hummingbird, .hummingbirdTesting, .httpTypes, .nioCore, .logging, .crypto,
            ]),
        tests("EndToEnd", ["Domain", "TestSupport", "sba", .hummingbird]),
        tests("Tidy", []),
    ]
)
