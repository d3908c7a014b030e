-- proxy_header.lua -- seeds of fuzz_proxy_header: headers of both versions, with a request behind.

local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"

local function v2(command, family, body)
  return SIGNATURE .. string.pack(">BBs2", command, family, body)
end

local IPV4 = "\192\0\2\1\192\0\2\2" .. string.pack(">I2I2", 56324, 443)
local IPV6 = "\32\1\13\184" .. ("\0"):rep(11) .. "\1" .. ("\0"):rep(15) .. "\1"
  .. string.pack(">I2I2", 56324, 443)

return {
  v1_tcp4 = "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n",
  v1_tcp6 = "PROXY TCP6 2001:db8::1 ::1 56324 443\r\n",
  v1_longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
    .. "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
  v1_unknown = "PROXY UNKNOWN\r\n",
  v1_unknown_more = "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\nrest",
  v2_ipv4 = v2(0x21, 0x11, IPV4) .. "GET / HTTP/1.1\r\n",
  v2_ipv6 = v2(0x21, 0x21, IPV6),
  v2_local = v2(0x20, 0x00, ""),
  v2_unix = v2(0x21, 0x31, ("/run/a"):rep(36)),
  v2_tls = v2(0x21, 0x11, IPV4 .. "\32" .. string.pack(">s2", "\1\0\0\0\0\33"
    .. string.pack(">s2", "TLSv1.3"))),
  v2_other_tlv = v2(0x21, 0x11, IPV4 .. "\1" .. string.pack(">s2", "h2") .. "\4\0\2pp"),
}
