-- state.lua -- seeds of fuzz_state: sections of a state file (src/server/state/state_file.h), and a
-- whole file.

local function section(kind, body) return string.pack("<I4I4s8", kind, 0, body) end
local function text(bytes) return string.char(#bytes) .. bytes end

local function entry(key, value, ends) return "\1" .. text(key) .. value .. (ends or "\0") end

local store = section(1, text "store" .. "\128\128\64"
  .. entry("yes", "\0\1") .. entry("integer", "\1" .. string.pack("<i8", -7), "\232\7")
  .. entry("float", "\2" .. string.pack("<d", 0.5)) .. entry("text", "\3" .. text "some") .. "\0")
local keep = section(2, "\3" .. text "scores" .. "\6\2\3\2\3\4\5" .. text "key" .. "\2\0")

return {
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
