-- fuzz_jwt.lua -- what fuzz_jwt.c does with an input. The first byte decides: a whole token; claims
-- that are signed here; or a text in base64url.

local core = require "tidewire.jwt_c"
local jwt = require "tidewire.jwt"

local KEY = "a secret of thirty-two letters, 32"
local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

--- The plain way to write base64url without padding.
local function encode64(bytes)
  local bits = bytes:gsub(".", function(byte)
    local code, digits = byte:byte(), {}
    for i = 8, 1, -1 do digits[i], code = code & 1, code >> 1 end
    return table.concat(digits)
  end)
  bits = bits .. ("0"):rep(-#bits % 6)
  return (bits:gsub("%d%d%d%d%d%d", function(six)
    local index = tonumber(six, 2) + 1
    return LETTERS:sub(index, index)
  end))
end

local function check_result(claims, problem)
  if claims then
    assert(type(claims) == "table" and problem == nil)
  else
    assert(type(problem) == "string" and problem ~= "" and utf8.len(problem))
  end
end

local OPTIONS = { key = KEY, audience = { "chat", "game" }, issuer = "me", leeway = 1,
  require = "sub" }

local behaviours = {
  function(text) -- a token
    check_result(jwt.verify(text, { key = KEY }))
    check_result(jwt.verify(text, OPTIONS))
  end,
  function(text) -- claims
    local token = core.sign("HS256", KEY, '{"typ":"JWT"}', text)
    if not token then return end
    check_result(jwt.verify(token, OPTIONS))
    check_result(jwt.verify(token, { key = KEY }))
    -- no other text is a signature of the same claims
    local head, last = token:match("^(.*)(.)$")
    local at = LETTERS:find(last, 1, true)
    local other = LETTERS:sub(at % 64 + 1, at % 64 + 1)
    assert(jwt.verify(head .. other, { key = KEY }) == nil)
  end,
  function(text) -- base64url
    local bytes = core.decode64(text)
    assert(not bytes or encode64(bytes) == text)
    assert(core.decode64(encode64(text)) == text)
  end,
}

return function(input)
  if input == "" or input:find("\0", 1, true) then return end
  behaviours[input:byte() % #behaviours + 1](input:sub(2))
end
