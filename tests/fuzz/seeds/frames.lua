-- frames.lua -- seeds of fuzz_frames: two bytes for the pieces, the side, the limits, the frames.

local frames = require "support.frames"

local function input(list, options)
  options = options or {}
  local flags = (options.from_server and 1 or 0) | (options.deflate and 2 or 0)
  return (options.pieces or "\9\1") .. string.char(flags) .. "\200\10"
    .. table.concat(list)
end

local function frame(opcode, payload, options)
  local fields = { opcode = opcode, payload = payload, key = "\1\2\3\4" }
  for name, value in pairs(options or {}) do fields[name] = value end
  return frames.encode(fields)
end

return {
  text = input { frame("text", "hello") },
  two = input { frame("text", "hello"), frame("binary", "\0\255") },
  utf8 = input { frame("text", "ä€😀"), frame("text", "plain") },
  by_byte = input({ frame("text", "hello"), frame("ping", "p") }, { pieces = "\1\0" }),
  control = input { frame("ping", "are you there"), frame("pong", ""), frame("ping", "") },
  fragments = input { frame("text", "one ", { fin = false }), frame("ping", "between"),
    frame("continuation", "two ", { fin = false }), frame("continuation", "three") },
  empty_fragments = input { frame("binary", "", { fin = false }),
    frame("continuation", "", { fin = false }), frame("continuation", "") },
  length_16 = input { frame("binary", ("x"):rep(300)) },
  length_64 = input { "\130\255\0\0\0\0\0\1\0\0\1\2\3\4" },
  compressed = input({ frame("text", "\xf2\x48\xcd\xc9\xc9\7\0", { rsv = 4 }),
    frame("text", "plain"),
    frame("binary", "\xf2\x48", { rsv = 4, fin = false }), frame("ping", "p"),
    frame("continuation", "\xcd\xc9\xc9\7\0") }, { deflate = true }),
  close = input { frame("close", "\3\232bye") },
  close_empty = input { frame("close", "") },
  server = input({ frame("text", "hello", { masked = false }),
    frame("binary", ("y"):rep(130), { masked = false }),
    frame("close", "\3\233", { masked = false }) }, { from_server = true }),
}
