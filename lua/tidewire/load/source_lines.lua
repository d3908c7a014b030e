-- source_lines.lua -- finds the line of a Lua file where a key of a table is written.
--
-- Error messages should point at `ping_perod = 30`, but a table does not remember its lines. So the
-- source is read again, as tokens: the search skips comments and strings, follows braces and
-- blocks, and notes each table constructor with its keys. It is no parser: a key that it cannot
-- find for certain (a computed key, the same key in two places) has no line.
-- Runs only when there is a problem to report. Pure functions on a text; opens no file.

local source_lines = {}

---@class tidewire.SourceBlock      one table constructor
---@field keys table<any, { line: integer, block: tidewire.SourceBlock|nil, variable: string|nil }>

---@class tidewire.SourceLines
---@field returned tidewire.SourceBlock|nil                 what the file returns: `return {`
---@field returned_variable string|nil                      or: `return name`, at its end
---@field variables table<string, tidewire.SourceBlock|false>  of `name = {`; false if there are two
---@field places table<any, integer[]>                      key -> lines, wherever it is set
local SourceLines = {}
SourceLines.__index = SourceLines
SourceLines.__name = "tidewire.source_lines"

-- Tokens ----------------------------------------------------------------------------------------

local ESCAPES = { n = "\n", t = "\t", r = "\r", ["\\"] = "\\", ['"'] = '"', ["'"] = "'" }

-- The end of a long bracket that opens at `at`, or nil if none does.
local function long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then
    return nil
  end
  local _, stop = text:find("]" .. level .. "]", at, true)
  return stop or #text
end

local function quoted_string(text, at)
  local quote, stop = text:sub(at, at), at + 1
  while stop <= #text and text:sub(stop, stop) ~= quote do
    stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
  end
  local value = text:sub(at + 1, stop - 1):gsub("\\(.)", ESCAPES)
  return stop, value
end

--- The token at `at`: where it ends, its kind ("name", "string", "number", "mark", "space") and
--- value.
local function token_at(text, at)
  local stop = select(2, text:find("^%s+", at))
  if stop then
    return stop, "space"
  elseif text:find("^%-%-", at) then
    return long_bracket(text, at + 2) or (text:find("\n", at, true) or #text + 1) - 1, "space"
  end
  stop = long_bracket(text, at)
  if stop then
    return stop, "string", nil -- no key is written so
  elseif text:find("^[\"']", at) then
    local value
    stop, value = quoted_string(text, at)
    return stop, "string", value
  end
  stop = select(2, text:find("^[%a_][%w_]*", at))
  if stop then
    return stop, "name", text:sub(at, stop)
  end
  stop = select(2, text:find("^%.?%d[%w.]*", at))
  if stop then
    return stop, "number", tonumber(text:sub(at, stop))
  end
  stop = select(2, text:find("^[=~<>]=", at)) or at
  return stop, "mark", text:sub(at, stop)
end

local function count_newlines(text, first, last)
  local count = 0
  for _ in text:sub(first, last):gmatch("\n") do
    count = count + 1
  end
  return count
end

local function tokens_of(text)
  local tokens, line, at = {}, 1, 1
  while at <= #text do
    local stop, kind, value = token_at(text, at)
    if kind ~= "space" then
      tokens[#tokens + 1] = { kind = kind, value = value, line = line }
    end
    line = line + count_newlines(text, at, stop)
    at = stop + 1
  end
  return tokens
end

-- Blocks ----------------------------------------------------------------------------------------

local OPENERS = {
  ["function"] = "end", ["if"] = "end", ["do"] = "end", ["repeat"] = "until", ["("] = ")",
  ["["] = "]",
}

local NO_TOKEN = {}

--- The key that the tokens from `i` on set, and the index of the "=" behind it, as in `key =`.
local function key_at(tokens, i)
  local token, second = tokens[i], tokens[i + 1] or NO_TOKEN
  if token.kind == "name" and second.kind == "mark" and second.value == "=" then
    return token.value, i + 1
  end
  local third, fourth = tokens[i + 2] or NO_TOKEN, tokens[i + 3] or NO_TOKEN
  if token.kind == "mark" and token.value == "["
    and (second.kind == "string" or second.kind == "number")
    and third.value == "]" and fourth.kind == "mark" and fourth.value == "=" then
    return second.value, i + 3
  end
end

local function note_place(self, key, line)
  self.places[key] = self.places[key] or {}
  table.insert(self.places[key], line)
end

--- Notes the value behind the "=" at index `equals`: a constructor (known later) or a variable.
local function note_key(block, key, tokens, equals)
  local value, after = tokens[equals + 1] or NO_TOKEN, tokens[equals + 2] or NO_TOKEN
  local entry = { line = tokens[equals].line }
  if value.kind == "name" and (after.value == "," or after.value == ";" or after.value == "}") then
    entry.variable = value.value
  end
  block.keys[key] = entry
  return entry
end

--- Notes what a "{" at index `i` belongs to: a key of the block around it, a variable, `return`, or
--- nothing known.
local function place_block(self, block, tokens, i, pending, depth)
  local before, name = tokens[i - 1] or NO_TOKEN, tokens[i - 2] or NO_TOKEN
  local further = tokens[i - 3] or NO_TOKEN
  if pending and pending.equals == i - 1 then
    pending.entry.block = block
  elseif before.value == "=" and before.kind == "mark" and name.kind == "name"
    and further.value ~= "." then
    self.variables[name.value] = self.variables[name.value] == nil and block or false
  elseif before.kind == "name" and before.value == "return" and depth == 0 then
    self.returned = block
  end
end

--- `handler.ping_period = 5`, `handler["x"] = 5` and `function handler.on_start(…)` set keys, too.
local function note_assignment(self, tokens, i)
  local token, before, after = tokens[i], tokens[i - 1] or NO_TOKEN, tokens[i + 1] or NO_TOKEN
  if token.kind == "name" and (before.value == "." or before.value == ":") then
    local opens_function = after.value == "(" and (tokens[i - 3] or NO_TOKEN).value == "function"
    if after.kind == "mark" and after.value == "=" or opens_function then
      note_place(self, token.value, token.line)
    end
  elseif token.value == "[" and (before.kind == "name" or before.value == "]") then
    local key = key_at(tokens, i)
    if key ~= nil then
      note_place(self, key, token.line)
    end
  end
end

local SEPARATORS = { ["{"] = true, [","] = true, [";"] = true }

--- The token's text if it is code, nil for strings and numbers.
local function word(token)
  return token and (token.kind == "name" or token.kind == "mark") and token.value or nil
end

--- Notes the key that begins at index `i` of a constructor, if one does.
local function read_key(self, block, tokens, i)
  local key, equals = key_at(tokens, i)
  if key == nil then
    return nil
  end
  note_place(self, key, tokens[i].line)
  return { equals = equals, entry = note_key(block, key, tokens, equals) }
end

local function read_blocks(self, tokens)
  local stack, pending = {}, nil
  for i in ipairs(tokens) do
    local value, top = word(tokens[i]), stack[#stack]
    if top and top.block and SEPARATORS[word(tokens[i - 1])] then
      pending = read_key(self, top.block, tokens, i) or pending
    end
    note_assignment(self, tokens, i)
    if value == "{" then
      local block = { keys = {} }
      place_block(self, block, tokens, i, pending, #stack)
      stack[#stack + 1] = { closer = "}", block = block }
    elseif OPENERS[value] then
      stack[#stack + 1] = { closer = OPENERS[value] }
    elseif top and top.closer == value then
      stack[#stack] = nil
    end
  end
end

--- Reads a Lua file's text.
---@param text string
---@return tidewire.SourceLines
function source_lines.read(text)
  local self = setmetatable({
    returned = nil, returned_variable = nil, variables = {}, places = {},
  }, SourceLines)
  local tokens = tokens_of((text:gsub("^#[^\n]*", "")))
  read_blocks(self, tokens)
  local last, before = tokens[#tokens] or NO_TOKEN, tokens[#tokens - 1] or NO_TOKEN
  if last.kind == "name" and before.kind == "name" and before.value == "return" then
    self.returned_variable = last.value
  end
  return self
end

-- Search ----------------------------------------------------------------------------------------

local function block_of(self, entry)
  return entry.block or entry.variable and self.variables[entry.variable] or nil
end

local function follow(self, block, path)
  for i, key in ipairs(path) do
    local entry = block and block.keys[key]
    if not entry then
      return nil
    elseif i == #path then
      return entry.line
    end
    block = block_of(self, entry)
  end
end

--- The line in which a key is set.
---
--- Follows the keys from the table that the file returns; where that is not possible, takes the
--- only place in the file that sets the key. nil if there are several: a wrong line is worse than
--- none.
---@param path any[]  keys from the file's table on: { "endpoints", "/chat", "ping_period" }
---@return integer|nil
function SourceLines:find(path)
  local line = follow(self, self.returned or self.variables[self.returned_variable], path)
  if line then
    return line
  end
  local places = self.places[path[#path]]
  if places and #places == 1 then
    return places[1]
  end
  return nil
end

return source_lines
