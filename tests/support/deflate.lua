-- deflate.lua -- compressed messages of permessage-deflate (RFC 7692), in plain Lua: a second
-- opinion on what the server's zlib makes, and the bytes that no zlib would make.
--
-- Reads all of RFC 1951; writes stored blocks and blocks with the fixed codes. Slow; for tests.

local deflate = {}

-- ---- reading ----

local LENGTHS <const> = {
  { 3, 0 }, { 4, 0 }, { 5, 0 }, { 6, 0 }, { 7, 0 }, { 8, 0 }, { 9, 0 }, { 10, 0 }, { 11, 1 },
  { 13, 1 }, { 15, 1 }, { 17, 1 }, { 19, 2 }, { 23, 2 }, { 27, 2 }, { 31, 2 }, { 35, 3 }, { 43, 3 },
  { 51, 3 }, { 59, 3 }, { 67, 4 }, { 83, 4 }, { 99, 4 }, { 115, 4 }, { 131, 5 }, { 163, 5 },
  { 195, 5 }, { 227, 5 }, { 258, 0 },
}
local DISTANCES <const> = {}
for code = 0, 29 do
  local extra = math.max(0, (code >> 1) - 1)
  DISTANCES[code + 1] = { code < 2 and code + 1 or ((2 + (code & 1)) << extra) + 1, extra }
end
local ORDER <const> = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 }

-- Symbols by the bits of their codes, behind a leading 1.
local function codes_of(lengths, count)
  local codes, code = {}, 0
  for bits = 1, 15 do
    for symbol = 0, count - 1 do
      if lengths[symbol] == bits then
        codes[1 << bits | code] = symbol
        code = code + 1
      end
    end
    code = code << 1
  end
  return codes
end

local fixed_lengths = {}
for symbol = 0, 287 do
  fixed_lengths[symbol] = symbol < 144 and 8 or symbol < 256 and 9 or symbol < 280 and 7 or 8
end
local five = {}
for symbol = 0, 31 do five[symbol] = 5 end
local FIXED <const>, FIXED_DISTANCES <const> = codes_of(fixed_lengths, 288), codes_of(five, 32)

local Reader = {}
Reader.__index = Reader

function Reader:bits(count)
  while self.used < count do
    local byte = self.text:byte(self.at) or error("deflate data is truncated", 0)
    self.value, self.used, self.at = self.value | byte << self.used, self.used + 8, self.at + 1
  end
  local value = self.value & (1 << count) - 1
  self.value, self.used = self.value >> count, self.used - count
  return value
end

function Reader:symbol(codes)
  local code, value, used = 1, self.value, self.used
  for _ = 1, 15 do
    if used == 0 then
      value = self.text:byte(self.at) or error("deflate data is truncated", 0)
      used, self.at = 8, self.at + 1
    end
    code = code << 1 | value & 1
    value, used = value >> 1, used - 1
    local symbol = codes[code]
    if symbol then
      self.value, self.used = value, used
      return symbol
    end
  end
  error("no such code", 0)
end

function Reader:stored(out)
  self.value, self.used = 0, 0
  local len, complement = self:bits(16), self:bits(16)
  assert(len == ~complement & 0xffff, "a stored block with a wrong length")
  for _ = 1, len do out[#out + 1] = self:bits(8) end
end

function Reader:dynamic()
  local literals, distances, count = self:bits(5) + 257, self:bits(5) + 1, self:bits(4) + 4
  local lengths = {}
  for i = 1, count do lengths[ORDER[i]] = self:bits(3) end
  local codes = codes_of(lengths, 19)
  local all, at = {}, 0
  while at < literals + distances do
    local symbol, times = self:symbol(codes), 1
    local value = symbol
    if symbol == 16 then
      value, times = all[at - 1], 3 + self:bits(2)
    elseif symbol > 16 then
      value, times = 0, symbol == 17 and 3 + self:bits(3) or 11 + self:bits(7)
    end
    for _ = 1, times do all[at], at = value, at + 1 end
  end
  local far = {}
  for i = 0, distances - 1 do far[i] = all[literals + i] end
  return codes_of(all, literals), codes_of(far, distances)
end

function Reader:coded(out, codes, distances, window)
  while true do
    local symbol = self:symbol(codes)
    if symbol == 256 then return end
    if symbol < 256 then
      out[#out + 1] = symbol
    else
      local length = LENGTHS[symbol - 256]
      local len = length[1] + self:bits(length[2])
      local distance = DISTANCES[self:symbol(distances) + 1]
      local back = distance[1] + self:bits(distance[2])
      assert(back <= window, "the server uses a larger window than it may")
      assert(back <= #out, "the server refers to bytes that it has not sent")
      for _ = 1, len do out[#out + 1] = out[#out + 1 - back] end
    end
  end
end

--- The payload of a compressed message. `context` has what came before, as bytes; nil: nothing.
---@param payload string
---@param window integer   the bytes that it may refer back
---@param context integer[]|nil  changed
---@return string
function deflate.read(payload, window, context)
  local out = context or {}
  local before = #out
  local reader = setmetatable(
    { text = payload .. "\0\0\xff\xff", at = 1, value = 0, used = 0 }, Reader)
  while reader.at <= #reader.text do
    local final, kind = reader:bits(1), reader:bits(2)
    assert(final == 0 and kind < 3, "a final block, or a wrong one")
    if kind == 0 then
      reader:stored(out)
    elseif kind == 1 then
      reader:coded(out, FIXED, FIXED_DISTANCES, window)
    else
      local codes, distances = reader:dynamic()
      reader:coded(out, codes, distances, window)
    end
  end
  local parts = {}
  for i = before + 1, #out, 4096 do
    parts[#parts + 1] = string.char(table.unpack(out, i, math.min(#out, i + 4095)))
  end
  return table.concat(parts)
end

-- ---- writing ----

local Writer = {}
Writer.__index = Writer

local function new_writer() return setmetatable({ bytes = {}, value = 0, used = 0 }, Writer) end

--- Adds bits, the lowest first.
function Writer:bits(value, count)
  self.value = self.value | value << self.used
  self.used = self.used + count
  while self.used >= 8 do
    self.bytes[#self.bytes + 1] = string.char(self.value & 255)
    self.value, self.used = self.value >> 8, self.used - 8
  end
end

--- Adds a code, the highest bit first.
function Writer:code(value, count)
  for i = count - 1, 0, -1 do self:bits(value >> i & 1, 1) end
end

function Writer:literal(byte)
  if byte < 144 then
    self:code(0x30 + byte, 8)
  else
    self:code(0x190 + byte - 144, 9)
  end
end

--- Ends the message: the end of the block, and an empty one whose last four bytes are not sent.
function Writer:finish()
  self:code(0, 7)
  self:bits(0, 3)
  if self.used > 0 then self:bits(0, 8 - self.used) end
  return table.concat(self.bytes)
end

--- A message of stored blocks: compressed in form only.
---@param text string
---@return string payload
function deflate.stored(text)
  local parts = {}
  for at = 1, #text, 65535 do
    local part = text:sub(at, at + 65534)
    parts[#parts + 1] = string.pack("<BI2I2", 0, #part, ~#part & 0xffff) .. part
  end
  return table.concat(parts) .. "\0"
end

--- A message of one block with the fixed codes.
---@param text string
---@return string payload
function deflate.fixed(text)
  local writer = new_writer()
  writer:bits(2, 3)
  for i = 1, #text do writer:literal(text:byte(i)) end
  return writer:finish()
end

--- A message of some `bytes` bytes, all "a", in the fewest that the fixed codes allow: 1 to 158. A
--- few more bytes than asked for.
---@param bytes integer
---@return string payload
function deflate.bomb(bytes)
  local function repeats(writer, count)
    for _ = 1, count do
      writer:code(0xc5, 8) -- 258 bytes …
      writer:code(0, 5)    -- … from one byte before
    end
  end
  -- eight repeats are thirteen bytes, which are the same again and again
  local head = new_writer()
  head:bits(2, 3)
  head:literal(97)
  repeats(head, 8)
  local begun = #head.bytes
  repeats(head, 8)
  local period = table.concat(head.bytes, "", begun + 1)
  local times = bytes // (258 * 8)
  local last = new_writer()
  last.value, last.used = head.value, head.used
  return table.concat(head.bytes) .. period:rep(times) .. last:finish()
end

return deflate
