-- path_tree.lua -- a tree of path patterns, by segment.
--
-- "/chat", "/game/:room", "/files/*": plain segments, ":name" for one segment that is not empty,
-- and "*" as the last one for all that is left, which may be nothing. A path is walked from left to
-- right, at each segment the plain word before ":name" before "*", so the more specific pattern is
-- found first. Each node is visited at most once a walk, whatever path a client sends. A trailing
-- slash is a segment of its own (an empty one): "/chat/" and "/chat" are two paths.
--
-- Owns the tree; runs in a worker's Lua state; knows nothing of methods, endpoints or conflicts: a
-- leaf may have several entries, and the caller chooses.

local uri = require "tidewire.base.uri"

---@class tidewire.PathEntry
---@field pattern string
---@field names string[]  of its parameters, in order; "*" for the rest
---@field value any

---@class tidewire.PathTree
local PathTree = {}
PathTree.__index = PathTree
PathTree.__name = "tidewire.path_tree"

local function new_node()
  return { words = {}, any = nil, rest = nil, leaf = nil }
end

---@return tidewire.PathTree
function PathTree.new()
  return setmetatable({ root = new_node() }, PathTree)
end

local function check_name(segment, seen)
  local name = segment:sub(2)
  if not name:find("^[%a_][%w_]*$") then
    return nil,
      ('":%s" is no parameter: write a colon and a name, as in "/game/:room"'):format(name)
  elseif seen[name] then
    return nil, ('the parameter ":%s" comes twice'):format(name)
  end
  seen[name] = true
  return name
end

--- Splits a pattern into segments.
---@return table[]|nil segments  each { kind = "word"|"any"|"rest", text = word or name }
---@return string|nil message
local function parse(pattern)
  if pattern:sub(1, 1) ~= "/" then
    return nil, 'a path must begin with "/"'
  elseif not utf8.len(pattern) then
    return nil, "a path must be UTF-8"
  elseif pattern:find("[?#]") then
    return nil, 'a path has no "?" and no "#": the query is in request.query'
  elseif pattern:find("[%c ]") then
    return nil, "a path has no spaces or control characters"
  end
  local segments, seen = {}, {}
  for segment in pattern:gmatch("/([^/]*)") do
    local previous = segments[#segments]
    if previous and previous.kind == "rest" then
      return nil, '"*" stands for all that is left, so it must be the last part'
    elseif previous and previous.text == "" then
      return nil, 'a path has no "//"'
    end
    if segment == "*" then
      segments[#segments + 1] = { kind = "rest", text = "*" }
    elseif segment:sub(1, 1) == ":" then
      local name, message = check_name(segment, seen)
      if not name then
        return nil, message
      end
      segments[#segments + 1] = { kind = "any", text = name }
    elseif segment:find("*", 1, true) then
      return nil, '"*" must be a part of its own, as in "/files/*"'
    else
      segments[#segments + 1] = { kind = "word", text = uri.decode(segment) }
    end
  end
  return segments
end

local function child(node, segment)
  if segment.kind == "word" then
    node.words[segment.text] = node.words[segment.text] or new_node()
    return node.words[segment.text]
  end
  node[segment.kind] = node[segment.kind] or new_node()
  return node[segment.kind]
end

--- The entries of all patterns that match the same paths as this one; a new empty list if there are
--- none.
---@param pattern string
---@return tidewire.PathEntry[]|nil leaf
---@return string[]|string names_or_message  the pattern's parameter names, or what is wrong with it
function PathTree:leaf(pattern)
  local segments, message = parse(pattern)
  if not segments then
    return nil, message --[[@as string]]
  end
  local node, names = self.root, {}
  for _, segment in ipairs(segments) do
    node = child(node, segment)
    if segment.kind ~= "word" then
      names[#names + 1] = segment.text
    end
  end
  node.leaf = node.leaf or {}
  return node.leaf, names
end

local visit

local function visit_any(node, path, stop, segment, captured, choose)
  captured[#captured + 1] = segment
  local found = visit(node, path, stop, captured, choose)
  if not found then
    captured[#captured] = nil
  end
  return found
end

local function visit_rest(node, rest, captured, choose)
  captured[#captured + 1] = rest
  local found = choose(node.leaf)
  if not found then
    captured[#captured] = nil
  end
  return found
end

--- Walks the subtree of `node` over what is left of `path` from the slash at `position` on.
function visit(node, path, position, captured, choose)
  if position > #path then
    return node.leaf and choose(node.leaf)
  end
  local stop = path:find("/", position + 1, true) or #path + 1
  local segment = uri.decode(path:sub(position + 1, stop - 1))
  local word, found = node.words[segment], nil
  if word then
    found = visit(word, path, stop, captured, choose)
  end
  if not found and node.any and segment ~= "" then
    found = visit_any(node.any, path, stop, segment, captured, choose)
  end
  if not found and node.rest then
    found = visit_rest(node.rest, uri.decode(path:sub(position + 1)), captured, choose)
  end
  return found
end

--- Calls `choose` with each leaf that matches a path, the most specific first, until it returns an
--- entry.
---@param raw_path string  still percent-encoded, so that an encoded slash does not end a segment
---@param choose fun(leaf: tidewire.PathEntry[]): tidewire.PathEntry|nil
---@return tidewire.PathEntry|nil entry
---@return table<string, string>|nil params  decoded
function PathTree:find(raw_path, choose)
  if raw_path:sub(1, 1) ~= "/" then
    return nil
  end
  local captured = {}
  local entry = visit(self.root, raw_path, 1, captured, choose)
  if not entry then
    return nil
  end
  local params = {}
  for i, name in ipairs(entry.names) do
    params[name] = captured[i]
  end
  return entry, params
end

return PathTree
