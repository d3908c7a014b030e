-- json.lua -- `tw.json`: JSON (RFC 8259) to Lua values and back.
--
-- C does the work (`tidewire.json_c`); this file has the public names. docs/decisions/json.md says
-- what an integer, a float, null and an empty array become:
--
--   * `1` is the integer 1, `1.0` and `1e3` are floats, and a round trip keeps both.
--     An integer beyond 64 bits is an error, not another number.
--   * null is `json.null`, which is a value like any other: it is true in an `if`, and it keeps its
--     place in a table. Compare it with `==`.
--   * A decoded array is marked as one, so that it is written as `[]` once it is empty.
--     `json.array` marks a table of your own; an empty table without the mark is written as `{}`.

local core = require "tidewire.json_c"
local missing = require "tidewire.base.missing"

---@class tidewire.json.Null   the one value of its kind; tostring gives "null"

---@alias tidewire.json.Value
---| nil | boolean | integer | number | string | table | tidewire.json.Null

---@class tidewire.json
local json = {}

--- Reads one JSON text. Strict: text that the RFC does not allow is an error, which says what was
--- expected, and at which byte. Of two equal keys the later one wins. At most 128 levels deep.
---
--- `false` is a value: look at `err`, or compare the value with nil, to see a failure.
---@type fun(text: string): value: tidewire.json.Value, err: string|nil
json.decode = core.decode

--- Writes a value as JSON. Tables are arrays when their keys are 1 to n or when they are marked as
--- arrays, and objects when all keys are strings; metamethods are not asked. Floats are written
--- with as many digits as it takes to read the same float again.
---
--- Throws when there is no JSON for the value: NaN and infinities, text that is not UTF-8,
--- functions, arrays with holes, cycles, more than 128 levels. The message names the place, as in
--- `value.players[3].x is NaN`.
---@type fun(value: tidewire.json.Value): string
json.encode = core.encode

--- Marks a table as an array and returns it; without an argument, a new one. The mark is a
--- metatable: a table that has another one cannot be marked.
---@type fun(t: table|nil): table
json.array = core.array

--- JSON's null.
---@type tidewire.json.Null
json.null = core.null

missing.watch_module("tw.json", json)

return json
