-- digest.lua -- SHA-1 and base64, for one purpose: a WebSocket client checks Sec-WebSocket-Accept.
--
-- Written here so that the tests check the server's answer with code that the server does not use.
-- Pure functions.

local digest = {}

local function rotate(value, bits)
  return ((value << bits) | (value >> (32 - bits))) & 0xffffffff
end

-- One step of SHA-1 uses one of three mixing functions and one of four constants (FIPS 180-4,
-- section 6.1).
local function mix(step, b, c, d)
  if step < 20 then return (b & c) | (~b & d), 0x5a827999 end
  if step < 40 then return b ~ c ~ d, 0x6ed9eba1 end
  if step < 60 then return (b & c) | (b & d) | (c & d), 0x8f1bbcdc end
  return b ~ c ~ d, 0xca62c1d6
end

--- SHA-1 of a string.
---@param text string
---@return string twenty_bytes
function digest.sha1(text)
  local state = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 }
  local padded = text .. "\128" .. ("\0"):rep(-(#text + 9) % 64) .. string.pack(">I8", #text * 8)
  for block = 1, #padded, 64 do
    local words = { string.unpack((">" .. ("I4"):rep(16)), padded, block) }
    for index = 17, 80 do
      words[index] =
        rotate(words[index - 3] ~ words[index - 8] ~ words[index - 14] ~ words[index - 16], 1)
    end
    local a, b, c, d, e = table.unpack(state)
    for step = 0, 79 do
      local mixed, constant = mix(step, b, c, d)
      local sum =
        (rotate(a, 5) + (mixed & 0xffffffff) + e + constant + words[step + 1]) & 0xffffffff
      a, b, c, d, e = sum, a, rotate(b, 30), c, d
    end
    for index, value in ipairs({ a, b, c, d, e }) do
      state[index] = (state[index] + value) & 0xffffffff
    end
  end
  return string.pack(">I4I4I4I4I4", table.unpack(state))
end

local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- Base64 of a string (RFC 4648, section 4).
---@param bytes string
---@return string
function digest.base64(bytes)
  local out = {}
  for position = 1, #bytes, 3 do
    local a, b, c = bytes:byte(position, position + 2)
    local group = a << 16 | (b or 0) << 8 | (c or 0)
    for index = 0, 3 do
      local missing = (index == 2 and not b) or (index == 3 and not c)
      local letter = (group >> (18 - 6 * index) & 63) + 1
      out[#out + 1] = missing and "=" or LETTERS:sub(letter, letter)
    end
  end
  return table.concat(out)
end

return digest
