-- fake_redis.lua -- a server in the place of Redis, which answers what the test says.
--
--     local fake <close> = fake_redis.start(function(words) return "+OK\r\n" end)
--     fake.url
--
-- `answer` gets the words of each command and returns the bytes to send: nil for those of a healthy
-- Redis 7, "" for none, false to close the connection.

local uv = require "luv"

local fake_redis = {}

local INFO = {
  server = "# Server\r\nredis_version:7.0.15\r\nrun_id:0123456789abcdef\r\n",
  replication = "# Replication\r\nrole:master\r\nmaster_replid:fedcba9876543210\r\n",
}

local function bulk(text)
  return ("$%d\r\n%s\r\n"):format(#text, text)
end

--- What a healthy Redis answers.
---@param words string[]
---@return string
function fake_redis.healthy(words)
  local name = words[1]
  if name == "INFO" then return bulk(INFO[words[2]]) end
  if name == "TIME" then return "*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n" end
  if name == "PING" then return "+PONG\r\n" end
  if name == "SCRIPT" then return bulk(("0"):rep(40)) end
  if name == "SSUBSCRIBE" then
    local answers = {}
    for i = 2, #words do
      answers[#answers + 1] = "*3\r\n" .. bulk "ssubscribe" .. bulk(words[i]) .. ":1\r\n"
    end
    return table.concat(answers)
  end
  return "+OK\r\n"
end

-- Takes a command off the bytes. Returns its words and the rest, or nil.
local function take(bytes)
  local count, at = bytes:match("^%*(%d+)\r\n()")
  if not count then return end
  local words = {}
  for i = 1, tonumber(count) do
    local len, from = bytes:match("^%$(%d+)\r\n()", at)
    if not len or #bytes < from + len + 1 then return end
    words[i], at = bytes:sub(from, from + len - 1), from + len + 2
  end
  return words, bytes:sub(at)
end

---@class support.fake_redis
---@field url string
---@field sockets userdata[]
local Fake = {}
Fake.__index = Fake

--- Starts one on a port of its own.
---@param answer fun(words: string[], number: integer): string|false|nil number: of the connection
---@return support.fake_redis
function fake_redis.start(answer)
  local self = setmetatable({ sockets = {}, server = uv.new_tcp() }, Fake)
  self.ignored = uv.new_signal() -- a write to a client that has gone is no reason to end
  self.ignored:start("sigpipe", function() end)
  assert(self.server:bind("127.0.0.1", 0))
  self.url = ("redis://127.0.0.1:%d"):format(self.server:getsockname().port)
  assert(self.server:listen(16, function()
    local socket, rest = uv.new_tcp(), ""
    self.server:accept(socket)
    table.insert(self.sockets, socket)
    local number = #self.sockets
    socket:read_start(function(_, bytes)
      if not bytes then return socket:is_closing() or socket:close() end
      rest = rest .. bytes
      while true do
        local words, after = take(rest)
        if not words or socket:is_closing() then return end
        rest = after
        local bytes_out = answer(words, number)
        if bytes_out == false then return socket:close() end
        socket:write(bytes_out or fake_redis.healthy(words))
      end
    end)
  end))
  return self
end

function Fake:__close()
  self.server:close()
  for _, socket in ipairs(self.sockets) do
    if not socket:is_closing() then socket:close() end
  end
  self.ignored:close()
  uv.run("nowait") -- luv ends badly with handles that are half closed
end

return fake_redis
