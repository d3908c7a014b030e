-- inflate.lua -- seeds of fuzz_inflate: window and context, the limit, messages behind their
-- lengths. The payloads are those of RFC 7692 section 7.2.3.

local HELLO = "\xf2\x48\xcd\xc9\xc9\7\0"

local function input(flags, max, ...)
  local text = string.char(flags, max)
  for _, message in ipairs { ... } do text = text .. string.pack("s1", message) end
  return text
end

return {
  hello = input(7, 10, HELLO),
  context = input(0x87, 10, HELLO, "\xf2\0\x11\0\0"),
  stored = input(7, 10, "\0\5\0\xfa\xff\x48\x65\x6c\x6c\x6f\0"),
  final = input(7, 10, "\xf3\x48\xcd\xc9\xc9\7\0\0"),
  two_blocks = input(7, 10, "\xf2\x48\5\0\0\0\xff\xff\xca\xc9\xc9\7\0"),
  too_big = input(7, 0, HELLO),
  empty = input(0, 1, "\0", ""),
  text = input(2, 255, ("compressible "):rep(10)),
}
