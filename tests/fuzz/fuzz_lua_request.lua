-- fuzz_lua_request.lua -- what fuzz_lua_request.c does with an input: a target and header fields.

local headers = require "tidewire.base.headers"
local origins = require "tidewire.load.origins"
local uri = require "tidewire.base.uri"

--- The plain way to decode: byte by byte.
local function decode(text)
  local out, at = {}, 1
  while at <= #text do
    local digits = text:match("^%%(%x%x)", at)
    out[#out + 1] = digits and string.char(tonumber(digits, 16)) or text:sub(at, at)
    at = at + (digits and 3 or 1)
  end
  return table.concat(out)
end

local function check_target(target)
  local path, query = uri.split_target(target)
  assert(path ~= "" and not path:find("?", 1, true))
  assert(uri.decode(path) == decode(path))
  for name, value in pairs(uri.parse_query(query)) do
    assert(type(name) == "string" and type(value) == "string")
    assert(#name + #value <= #query)
  end
end

local function check_fields(text)
  for name, value in pairs(headers.parse("GET / HTTP/1.1\r\n" .. text .. "\r\n")) do
    assert(name == name:lower() and not value:find("[\r\n]"))
    for _, item in ipairs(headers.list(value)) do
      assert(item ~= "" and not item:find(",", 1, true) and headers.trim(item) == item)
    end
    local normal = origins.normalise(value)
    assert(not normal or origins.normalise(normal) == normal)
  end
end

return function(input)
  local target, fields = input:match("^([^\n]*)\n?(.*)$")
  check_target(target)
  check_fields(fields)
  headers.handshake_fault(target)
end
