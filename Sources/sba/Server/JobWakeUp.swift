import Domain
import Logging
import ServiceLifecycle
import Storage

/// Wakes the idle workers of other processes on the same PostgreSQL when a job became available here, and ours when one
/// did there. A worker looks at the queue every half second in any case.
struct JobWakeUp {
    static let channel = "sba_jobs"
    /// Others are told at most this often, however many jobs come: between two notices they find work by themselves.
    private static let interval: Duration = .milliseconds(20)

    let engine: PostgresEngine
    /// Where to hear of others; `nil` behind a pooler.
    let listen: PostgresConfiguration?
    let ambient: Ambient
    let logger: Logger

    func service(enqueued: Signal, worker: Signal) -> some Service { Running(wakeUp: self, enqueued: enqueued, worker: worker) }

    private struct Running: Service {
        let wakeUp: JobWakeUp
        let enqueued: Signal
        let worker: Signal

        func run() async throws {
            // Our own notices come back to us.
            let me = "\(wakeUp.ambient.makeID())"
            let listener = wakeUp.listen.map { listen in
                PostgresListener(listen, channel: JobWakeUp.channel) { [worker] payload in
                    if payload != me { worker.notify() }
                } onFailure: { [logger = wakeUp.logger] reason in
                    logger.warning(
                        "Other processes cannot be heard: their jobs are found by looking, every half second.",
                        metadata: ["error": "\(reason)"])
                }
            }
            await cancelWhenGracefulShutdown { await announce(me) }
            listener?.close()
        }

        private func announce(_ me: String) async {
            var said = 0
            while !Task.isCancelled {
                await enqueued.wait(after: said, atMost: .seconds(60))
                let generation = enqueued.generation
                guard generation != said, !Task.isCancelled else { continue }
                said = generation
                do {
                    try await wakeUp.engine.notify(channel: JobWakeUp.channel, payload: me)
                } catch {
                    wakeUp.logger.warning("Other workers could not be woken.", metadata: ["error": "\(error)"])
                }
                try? await Task.sleep(for: JobWakeUp.interval)
            }
        }
    }
}
