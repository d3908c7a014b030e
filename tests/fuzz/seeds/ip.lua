-- ip.lua -- seeds of fuzz_ip: addresses and networks.

return {
  ipv4 = "192.0.2.1", ipv6 = "2001:db8::1", all = "2001:db8:1:2:3:4:5:6", any = "::",
  mapped = "::ffff:192.0.2.1", network = "10.0.0.0/8",
  network6 = "2001:db8::/32", host = "10.0.0.1/32",
  every = "0.0.0.0/0", unix = "unix", unix_path = "unix:", leading_zero = "010.0.0.1",
  tail = "64:ff9b::192.0.2.33",
}
