-- global_writes.lua -- finds the lines where functions write globals, in a chunk's bytecode.
--
-- A hook that writes `name = message` without `local` writes a variable that all connections share.
-- The compiler has resolved scopes already, so its output is read, not the source: each instruction
-- that sets a field of the chunk's _ENV. The format is that of Lua 5.4 (lundump.c). A chunk with a
-- known result tests once whether the running Lua has this format; if not, nothing is found. Pure.

local global_writes = {}

local SETTABUP <const> = 15         -- lopcodes.h
local ABSOLUTE_LINE <const> = -0x80 -- ldebug.h: the line is in a list of its own
local HEADER_BYTES <const> = 32     -- with the number of upvalues
local SHORT_STRING <const>, LONG_STRING <const> = 0x04, 0x14
local FLOAT <const>, INTEGER <const> = 0x13, 0x03

---@class tidewire.Dump
---@field text string
---@field at integer    the next byte
local Dump = {}
Dump.__index = Dump

function Dump:byte()
  self.at = self.at + 1
  return self.text:byte(self.at - 1)
end

--- A number of variable length: seven bits a byte, and the last byte has the eighth bit set.
function Dump:number()
  local number = 0
  while true do
    local byte = self:byte()
    number = number << 7 | byte & 0x7F
    if byte & 0x80 ~= 0 then
      return number
    end
  end
end

function Dump:string()
  local length = self:number() - 1
  if length < 0 then
    return nil
  end
  self.at = self.at + length
  return self.text:sub(self.at - length, self.at - 1)
end

function Dump:constants()
  local list = {}
  for i = 0, self:number() - 1 do
    local kind = self:byte()
    if kind == SHORT_STRING or kind == LONG_STRING then
      list[i] = self:string()
    elseif kind == FLOAT or kind == INTEGER then
      self.at = self.at + 8
    end
  end
  return list
end

--- The upvalues that are the chunk's _ENV: the chunk's first one, and those of functions that refer
--- to it.
function Dump:upvalues(outer)
  local is_env = {}
  for i = 0, self:number() - 1 do
    local in_stack, index = self:byte(), self:byte()
    is_env[i] = outer == nil and i == 0 or outer ~= nil and in_stack == 0 and outer[index]
    self.at = self.at + 1
  end
  return is_env
end

--- The line of each instruction from its number on, from 0.
function Dump:lines(first_line)
  local deltas, absolute = {}, {}
  for pc = 0, self:number() - 1 do
    deltas[pc] = string.unpack("b", self.text, self.at)
    self.at = self.at + 1
  end
  for _ = 1, self:number() do
    local pc = self:number()
    absolute[pc] = self:number()
  end
  local lines, line = {}, first_line
  for pc = 0, #deltas do
    line = deltas[pc] == ABSOLUTE_LINE and absolute[pc] or line + (deltas[pc] or 0)
    lines[pc] = line
  end
  return lines
end

--- Reads a function and those in it. `outer`: the upvalues of the one around it; nil: it is the
--- chunk.
function Dump:function_(outer, found)
  self:string() -- the source
  local first_line = self:number()
  self:number()
  self.at = self.at + 3
  local count = self:number()
  local code = self.at
  self.at = self.at + count * 4
  local constants = self:constants()
  local is_env = self:upvalues(outer)
  for _ = 1, self:number() do
    self:function_(is_env, found)
  end
  local lines = self:lines(first_line)
  for _ = 1, self:number() do -- local variables
    self:string()
    self:number()
    self:number()
  end
  for _ = 1, self:number() do -- names of upvalues
    self:string()
  end
  for pc = 0, outer and count - 1 or -1 do
    local instruction = string.unpack("I4", self.text, code + pc * 4)
    local name = constants[instruction >> 16 & 0xFF]
    if instruction & 0x7F == SETTABUP and is_env[instruction >> 7 & 0xFF] and name then
      found[#found + 1] = { name = name, line = lines[pc] }
    end
  end
end

local function read(chunk)
  local found = {}
  setmetatable({ text = string.dump(chunk), at = HEADER_BYTES + 1 }, Dump):function_(nil, found)
  table.sort(found, function(one, other)
    return one.line < other.line or one.line == other.line and one.name < other.name
  end)
  return found
end

--- Has the running Lua this format?
local function is_known()
  local ok, found = pcall(read,
    assert(load "local a = 1.5\nb, a = 2, 'c'\nlocal function f()\n  d = a\nend\nreturn f"))
  return ok and #found == 1 and found[1].name == "d" and found[1].line == 4
end

local known

--- The writes to globals in the functions of a chunk, in the order of lines; those of the chunk
--- itself are none.
---@param chunk function  as `load` gives it
---@return { name: string, line: integer }[]
function global_writes.find(chunk)
  if known == nil then
    known = is_known()
  end
  local ok, found = pcall(read, known and chunk)
  return ok and found or {}
end

return global_writes
