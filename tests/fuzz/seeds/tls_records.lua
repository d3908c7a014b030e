-- tls_records.lua -- seeds of fuzz_tls_records: suite, two bytes for the pieces, what the server
-- writes; then items, each a kind, a length and bytes.

local DATA, RECORD, LONG, UPDATE, SPOILED, BYTES = 0, 1, 2, 3, 4, 5

local function input(suite, writes, ...)
  local text = { string.char(suite, 9, 1, writes) }
  for _, item in ipairs { ... } do
    text[#text + 1] = type(item[2]) == "number" and string.char(item[1], item[2])
      or string.char(item[1]) .. string.pack("s1", item[2])
  end
  return table.concat(text)
end

local inputs = {
  padding = input(0, 0, { RECORD, "\0text\23\0\0\0" }, { RECORD, "\0\0\0" }),
  updates = input(0, 3, { UPDATE, 1 }, { DATA, "a" }, { UPDATE, 0 }, { DATA, "b" }),
  update_in_parts = input(1, 1, { RECORD, "\22\24\0" }, { RECORD, "\22\0\1\0" }),
  update_wrong = input(0, 1, { RECORD, "\22\24\0\0\1\2" }),
  change_cipher_spec = input(0, 0, { BYTES, "\20\3\3\0\1\1" }),
  hello_request = input(2, 1, { RECORD, "\22\1\0\0\0" }, { DATA, "a" }),
}
for suite = 0, 3 do
  local function add(name, writes, ...) inputs[name .. suite] = input(suite, writes, ...) end
  add("data", 9, { DATA, "hello" }, { DATA, "world" })
  add("empty", 0, { DATA, "" }, { DATA, "a" })
  add("long", 1, { LONG, 127 }, { LONG, 128 }, { LONG, 255 })
  add("spoiled", 1, { DATA, "a" }, { SPOILED, "hello" }, { DATA, "b" })
  add("bytes", 1, { BYTES, "\23\3\3\0\x20" .. ("x"):rep(32) })
  add("oversized", 1, { BYTES, "\23\3\3\255\255x" })
  add("close_notify", 255, { DATA, "a" }, { RECORD, "\21\1\0" }, { DATA, "b" })
  add("alert", 1, { RECORD, "\21\2\40" }, { DATA, "b" })
  add("warning", 1, { RECORD, "\21\1\90" }, { DATA, "b" })
end
return inputs
