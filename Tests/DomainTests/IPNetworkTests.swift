import Domain
import Testing

/// What is read, and how it is written again.
private let addresses: [(String, String)] = [
    ("10.0.0.7", "10.0.0.7"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("::", "::"), ("::1", "::1"),
    ("FD00::7", "fd00::7"), ("2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"),
    ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("::ffff:10.0.0.7", "10.0.0.7"), ("::FFFF:a00:7", "10.0.0.7"),
    ("::fffe:a00:7", "::fffe:a00:7"),
]

private let noAddresses = [
    "", " ", "10", "10.7", "10.0.7", "10.0.0.7.", "10.0.0.256", "010.0.0.7", "0x0a.0.0.7", "167772167", "10.0.0.7 ",
    " 10.0.0.7", "10.0.0.7\0", "10.0.0.7\0.example.com", "10.0.0.7/8", "10.0.0.7:80", "[::1]", "fe80::1%eth0", "fe80::1%",
    ":::", "1::2::3",
    "::1.2.3", "12345::", "localhost", "１0.0.0.7",
]

/// The first and the last address of each inward network, between those just before and just after it.
private let borders: [(before: String?, first: String, last: String, after: String?)] = [
    (nil, "0.0.0.0", "0.255.255.255", "1.0.0.0"),
    ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
    ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
    ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
    ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
    ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
    ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
    ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
    ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
    ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
    ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
    ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
    ("223.255.255.255", "224.0.0.0", "239.255.255.255", nil),
    (nil, "240.0.0.0", "255.255.255.255", nil),
    (nil, "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
    ("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
    ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"),
    ("2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"),
    ("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
    ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", nil),
]

/// Forms in which an inward address comes as another one.
private let disguises = [
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001::1",
    "fe80::1", "fec0::1", "fd00::1", "ff02::1", "100::1", "5f00::1",
]

@Suite("IP addresses")
struct IPAddressTests {
    @Test("An address is read in every form of its family, and written in one", arguments: addresses)
    func text(text: String, written: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.text == written)
        #expect(IPAddress(written) == address)
    }

    @Test("What is no address of four or sixteen bytes is none", arguments: noAddresses)
    func none(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("Bytes are an address when they are four or sixteen", arguments: [0, 3, 4, 5, 15, 16, 17])
    func bytes(count: Int) {
        let address = IPAddress(bytes: [UInt8](repeating: 7, count: count))
        #expect((address != nil) == [4, 16].contains(count))
    }

    @Test("An inward network ends where the registries say", arguments: borders)
    func ends(before: String?, first: String, last: String, after: String?) throws {
        for text in [first, last] { #expect(try #require(IPAddress(text)).isInward, "\(text)") }
        for text in [before, after].compactMap({ $0 }) { #expect(try !#require(IPAddress(text)).isInward, "\(text)") }
    }

    @Test("An inward address stays inward in the guise of another", arguments: disguises)
    func disguised(text: String) throws {
        #expect(try #require(IPAddress(text)).isInward)
    }

    @Test("Hosts of the Internet are not inward", arguments: ["1.1.1.1", "::ffff:1.1.1.1", "2606:4700:4700::1111", "2a00::1"])
    func outward(text: String) throws {
        #expect(try !#require(IPAddress(text)).isInward)
    }
}

/// A network, an address in it, and one that is not.
private let networks: [(String, inside: String, outside: String)] = [
    ("10.0.0.7", "10.0.0.7", "10.0.0.6"), ("10.0.0.7/32", "10.0.0.7", "10.0.0.8"), ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
    ("10.0.0.0/9", "10.127.255.255", "10.128.0.0"), ("10.0.0.4/31", "10.0.0.5", "10.0.0.6"), ("0.0.0.0/0", "255.0.0.1", "::1"),
    ("10.0.0.0/8", "::ffff:10.0.0.7", "::10.0.0.7"), ("::ffff:10.0.0.7", "10.0.0.7", "10.0.0.8"),
    ("fd00::/8", "fdff::1", "fe00::"), ("fd00::7", "fd00::7", "fd00::8"), ("::/0", "ffff::", "10.0.0.7"),
    ("2001:db8:8000::/33", "2001:db8:ffff::", "2001:db8:7fff::"),
]

private let noNetworks = [
    "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/x", "10.0.0.0/8/8", "10.0.0.0//8", "10.0.0.0 /8",
    "10/8", "fd00::/129", "[fd00::]/8", "::ffff:10.0.0.0/104", "10.0.0.0/255.0.0.0", "10.0.0.0/99999999999999999999",
]

@Suite("IP networks")
struct IPNetworkTests {
    @Test("A network holds the addresses of its family that begin like it", arguments: networks)
    func contains(text: String, inside: String, outside: String) throws {
        let network = try #require(IPNetwork(text))
        #expect(try network.contains(#require(IPAddress(inside))))
        #expect(try !network.contains(#require(IPAddress(outside))))
    }

    @Test("What is no network is none", arguments: noNetworks)
    func none(text: String) {
        #expect(IPNetwork(text) == nil)
    }

    @Test("What follows after the bits that count makes no difference")
    func equality() {
        #expect(IPNetwork("10.1.2.3/8") == IPNetwork("10.0.0.0/8"))
        #expect(IPNetwork("10.0.0.0/8") != IPNetwork("10.0.0.0/9"))
        #expect(IPNetwork("0.0.0.0/0") != IPNetwork("::/0"))
    }
}
