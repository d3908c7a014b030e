-- state.lua -- seeds of fuzz_state: sections of a state file (src/server/state/state_file.h), and a
-- whole file.

local function section(kind, body) return string.pack("<I4I4s8", kind, 0, body) end
local function text(bytes) return string.char(#bytes) .. bytes end

local function entry(key, value, ends) return "\1" .. text(key) .. value .. (ends or "\0") end

local store = section(1, text "store" .. "\128\128\64"
  .. entry("yes", "\0\1") .. entry("integer", "\1" .. string.pack("<i8", -7), "\232\7")
  .. entry("float", "\2" .. string.pack("<d", 0.5)) .. entry("text", "\3" .. text "some") .. "\0")
local keep = section(2, "\3" .. text "scores" .. "\6\2\3\2\3\4\5" .. text "key" .. "\2\0")

-- Room "hall": a message in two codecs, and one retained for the key "k", of one endpoint.
local rooms = section(4, "12345678\1" .. text "hall" .. "abcdefgh\3"
  .. "\1\1" .. "\2\100" .. text "" .. text "" .. "\2"
  .. "\0\1" .. text "hi" .. "\1\130\1" .. text "hi"
  .. "\0\1" .. "\3\100" .. text "/chat" .. text "k" .. "\1" .. "\0\129\1" .. text "last")

-- Its fields, and the rest of its object, stand behind it.
local function session(of)
  return section(3, text(of) .. "\6\0\5" .. text "nick" .. "\5" .. text "ada" .. "\0" .. "\6\0\0")
end
local hub_part = text(("i"):rep(24)) .. text "/chat" .. "\0" .. text(("s"):rep(16))
  .. "\232\7" .. "\244\7" .. "\4" .. "\2\1\2"
  .. "\1" .. text "one" .. text "" .. "\129\1" .. text "two" .. text "key"
  .. "\2" .. text "hall" .. text '{"a":1}' .. text "log:a" .. text ""

return {
  rooms = rooms,
  session = session(hub_part),
  session_and_rooms = session(hub_part) .. rooms,
  not_a_session = session(hub_part .. "x"),
  not_rooms = section(4, "12345678\1" .. text "hall" .. "abcdefgh\3\4"),
  empty = "",
  store = store,
  keep = keep,
  both = store .. keep .. store,
  unknown = section(99, "anything") .. keep,
  truncated = (store .. keep):sub(1, -2),
  file = "TIDEWIRE" .. string.pack("<I4I4I8I8", 1, 0, 32, 0),
  not_a_store = section(1, text "store" .. "\128\128\64" .. "\1"),
  not_a_keep = section(2, "\3" .. text "scores" .. "\6\2"),
}
