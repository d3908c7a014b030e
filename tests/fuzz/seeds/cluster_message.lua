-- cluster_message.lua -- seeds of fuzz_cluster_message: the channel (0: all, 1: a machine's, 2: a
-- room's), and a message (src/cluster/node/protocol.h).

local function text(bytes) return string.char(#bytes) .. bytes end
local function message(channel, kind, body)
  return string.char(channel) .. "\1" .. string.char(kind) .. "otherplace1" .. "\1\1" .. body
end

local id = "machine0001" .. ("0"):rep(12) .. "1"
local two = "\2" .. "\0\1" .. text "hi" .. "\2\1" .. text '"hi"'
local custom = "\2" .. "\3" .. text "/one" .. "\130\1" .. text "\0\1"
  .. "\3" .. text "/two" .. "\1" .. text "x"

return {
  all = message(0, 1, text "" .. text "" .. text "" .. two),
  room = message(2, 1, text(id) .. text "/one" .. text "key" .. custom),
  send = message(1, 4, text(id) .. text "" .. two),
  close = message(1, 5, text(id) .. "\161\31" .. text "out"),
  question = message(1, 6, "\7\1" .. "body"),
  answer = message(1, 7, "\1\0" .. "body"),
  entry = message(2, 2, "\1\1" .. two),
  members = message(2, 3, "\1\1" .. two),
  later = "\2\2\1",
  empty = "",
}
