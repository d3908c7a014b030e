-- address.lua -- seeds of fuzz_address: the forms of a listen address.

return {
  ipv4 = "127.0.0.1:8080", ipv6 = "[::1]:8080", zone = "[fe80::1%lo]:80", name = "localhost:0",
  port = "8080", all = ":8080", star = "*:65535", any = "0.0.0.0:1", any6 = "[::]:1",
  unix = "unix:/run/app.sock", relative = "unix:app.sock", mapped = "[::ffff:127.0.0.1]:80",
  no_port = "127.0.0.1", too_high = "127.0.0.1:65536",
}
