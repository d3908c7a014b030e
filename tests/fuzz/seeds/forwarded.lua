-- forwarded.lua -- seeds of fuzz_forwarded: which headers count, header lines.

local EITHER, X, RFC7239 = "\0", "\1", "\2"

return {
  x = X .. "X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n"
    .. "X-Forwarded-Host: example.org",
  x_lines = X .. "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.1.1.1,::1",
  x_port = X .. "X-Forwarded-For: [2001:db8::1]:443, 192.0.2.7:80",
  forwarded = RFC7239 .. 'Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43, for="[::1]:80"',
  hidden = RFC7239 .. "Forwarded: for=unknown, for=_hidden;host=example.org;proto=https, for=10.1",
  quoted = RFC7239 .. 'Forwarded: for="192.0.2.43, \\"x";host="a, b", for=10.0.0.2',
  lines = RFC7239 .. "Forwarded: for=192.0.2.1\r\nForwarded: FOR=10.2.2.2;;proto=https",
  either = EITHER .. "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.2",
}
