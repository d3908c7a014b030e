-- plain_data.lua -- seeds of fuzz_plain_data: a value of each kind (src/script/plain/plain_data.c).

local NIL <const>, FALSE <const>, TRUE <const> = "\0", "\1", "\2"

local function integer(n) return "\3" .. string.char(n < 0 and -2 * n - 1 or 2 * n) end
local function float(x) return "\4" .. string.pack("<d", x) end
local function text(bytes) return "\5" .. string.char(#bytes) .. bytes end
local function list(count, ...) return "\6" .. string.char(count) .. table.concat { ... } .. NIL end

return {
  ["nil"] = NIL,
  booleans = FALSE .. TRUE,
  integers = integer(0) .. integer(-1) .. integer(63),
  large_integer = "\3\254\255\255\255\255\255\255\255\255\1",
  floats = float(1.5) .. float(1 / 0) .. float(0 / 0),
  text = text "some text",
  list = list(3, integer(1), text "two", FALSE),
  fields = list(0, text "a", integer(1), float(1.5), TRUE, TRUE, NIL),
  tables = list(2, list(0), list(1, list(0, text "x", list(0))), text "more", list(0)),
  truncated = list(2, integer(1)),
}
