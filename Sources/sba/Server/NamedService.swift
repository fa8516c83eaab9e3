import ServiceLifecycle

/// A service that the log knows by a name: otherwise it would be written out there with all that it holds, secrets too.
struct NamedService: Service, CustomStringConvertible {
    let description: String
    private let service: any Service

    init(_ name: String, _ service: any Service) {
        description = name
        self.service = service
    }

    func run() async throws { try await service.run() }
}
