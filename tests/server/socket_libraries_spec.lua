-- socket_libraries_spec.lua -- Lua libraries written for LuaSocket and LuaSec, unmodified, on the
-- sockets of `require "socket"`: socket.http, socket.smtp, ltn12, ssl.https, lua-redis.

local certificates = require "support.certificates"
local cjson = require "cjson"
local loop = require "support.loop"
local origin = require "support.origin"
local process = require "support.process"
local redis_server = require "support.redis"
local server = require "support.server"
local uv = require "luv"

local APP = [[
package.path = package.path .. ";/usr/share/lua/5.3/?.lua" -- Debian's lua-redis
local tw = require "tidewire"

local function texts(...)
  local list = tw.array()
  for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
  return list
end

return {
  http = { ["GET /hello"] = function() return "hello over TLS" end },
  endpoints = {
    ["/"] = {
      codec = "json",
      handle_message = function(conn, source)
        local f = assert(load(source, "=run", "t", setmetatable({ tw = tw }, { __index = _G })))
        conn:send(texts(select(2, xpcall(f, function(err) return tostring(err) end))))
      end,
    },
    ["/echo"] = { handle_message = function(conn, message) conn:send(message) end },
  },
}
]]

describe('a library on require "socket"', function()
  local app, ada

  before_each(function()
    app = server.start({ app = APP })
    ada = app:connect("/")
  end)

  after_each(function() app:stop() end)

  local function run(source, values)
    source = source:gsub("%$(%u+)", values or {})
    return cjson.decode((ada:ask(cjson.encode(source), 60)))
  end

  it("socket.http asks a slow server, and other connections go on", function()
    local pending
    local other = origin.start(function(requester, request) pending = { requester, request } end)
    local source = [[
      local http, ltn12 = require "socket.http", require "ltn12"
      local parts = {}
      local ok, status = http.request { url = "$URL/path", method = "POST",
        headers = { ["content-length"] = 5 }, source = ltn12.source.string("hello"),
        sink = ltn12.sink.table(parts) }
      local body, second = http.request("$URL/second")
      return ok, status, table.concat(parts), body, second]]
    ada:send_text(cjson.encode((source:gsub("%$URL", other.url))))
    loop.wait_until(function() return pending end)
    assert.are.equal("hello", pending[2].body)
    local bob = app:connect("/echo")
    assert.are.equal("still here", bob:ask("still here"))
    pending[1]:answer(201, {}, "created")
    pending = nil
    loop.wait_until(function() return pending end)
    pending[1]:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
      .. "3\r\none\r\n4\r\n two\r\n0\r\n\r\n")
    assert.are.same({ "1", "201", "created", "one two", "200" }, cjson.decode((ada:receive())))
    other:close()
  end)

  it("socket.smtp sends mail", function()
    local lines, handles, listener = {}, {}, uv.new_tcp()
    listener:bind("127.0.0.1", 0)
    listener:listen(10, function()
      local handle, in_data, text = uv.new_tcp(), false, ""
      listener:accept(handle)
      handles[#handles + 1] = handle -- luv needs it until it is closed
      handle:write("220 here\r\n")
      handle:read_start(function(_, bytes)
        if not bytes then return handle:close() end
        text = text .. bytes
        while text:find("\r\n", 1, true) do
          local line, rest = text:match("^(.-)\r\n(.*)$")
          text = rest
          lines[#lines + 1] = line
          if in_data then
            in_data = line ~= "."
            if not in_data then handle:write("250 taken\r\n") end
          elseif line == "DATA" then
            in_data = true
            handle:write("354 go on\r\n")
          else
            handle:write(line == "QUIT" and "221 bye\r\n" or "250 fine\r\n")
          end
        end
      end)
    end)
    assert.are.same({ "1" }, run([[
      local smtp = require "socket.smtp"
      return (assert(smtp.send { from = "<a@example.org>", rcpt = "<b@example.org>",
        server = "127.0.0.1", port = $PORT,
        source = smtp.message { headers = { subject = "hi" }, body = "a body" } }))]],
      { PORT = tostring(listener:getsockname().port) }))
    local all = table.concat(lines, "\n")
    assert.matches("\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\nDATA\n", all)
    assert.matches("\n\na body\n%.\nQUIT$", all)
    loop.wait_until(function() return handles[1]:is_closing() end)
    listener:close()
    uv.run("nowait")
  end)

  it("ssl.https asks over TLS", function()
    local certificate, key = certificates.shared()
    local secured <close> = server.start({ app = APP, environment = {
      TIDEWIRE_TLS_CERTIFICATE = certificate, TIDEWIRE_TLS_KEY = key,
    } })
    assert.are.same({ "hello over TLS", "200" }, run([[
      local body, status = require "ssl.https".request("https://127.0.0.1:$PORT/hello")
      return body, status]], { PORT = tostring(secured.addresses[1].port) }))
  end)

  it("lua-redis talks with a Redis, which may die and come back", function()
    if redis_server.missing() or not process.read_file "/usr/share/lua/5.3/redis.lua" then
      return pending(redis_server.missing() or "lua-redis is not installed")
    end
    local redis <close> = redis_server.start()
    local values = { PORT = tostring(redis.port) }
    assert.are.same({ "true", "v", "true", "2" }, run([[
      local client = require "redis".connect("127.0.0.1", $PORT)
      client:incr("n")
      return client:set("k", "v"), client:get("k"), client:ping(), client:incr("n")]], values))
    local source = [[
      local client = require "redis".connect("127.0.0.1", $PORT)
      return pcall(client.blpop, client, "list", 0)]]
    ada:send_text(cjson.encode((source:gsub("%$PORT", values.PORT))))
    assert.are.equal("hi", app:connect("/echo"):ask("hi"))
    redis:command("RPUSH", "list", "item")
    local answer = cjson.decode((ada:receive()))
    assert.are.equal("true", answer[1])
  end)
end)
