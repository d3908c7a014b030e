-- socket_equal_spec.lua -- the same calls on sockets of LuaSocket, in a process of its own, and on
-- those of `require "socket"` in a script: the same results.

local cases = require "support.socket_cases"
local peer = require "support.peer"
local process = require "support.process"
local server = require "support.server"

local APP = [[
local socket = require "socket"
local run = require "runner"
return {
  endpoints = { ["/"] = { handle_message = function(conn, message)
    local host, port, closed, source = message:match("^(%S+) (%d+) (%d+) (.*)$")
    conn:send(run(socket, source, host, tonumber(port), tonumber(closed)))
  end } },
}
]]

local PLAIN = [[
package.path = "?.lua;" .. package.path
local socket = require "socket"
local run = require "runner"
local host, port, closed = arg[1], tonumber(arg[2]), tonumber(arg[3])
local out = assert(io.open("results.next", "w"))
for _, source in ipairs(require "cases") do
  out:write(("%q,\n"):format(run(socket, source, host, port, closed)))
end
out:close()
os.rename("results.next", "results")
]]

--- A port of 127.0.0.1 where nothing listens.
local function closed_port()
  local uv = require "luv"
  local handle = uv.new_tcp()
  handle:bind("127.0.0.1", 0)
  local port = handle:getsockname().port
  handle:close()
  uv.run("nowait")
  return port
end

--- The results of LuaSocket, a text for each case.
local function run_luasocket(other, closed)
  local folder = process.make_directory()
  local sources = {}
  for i, case in ipairs(cases.list) do sources[i] = ("%q,"):format(case[2]) end
  process.write_file(folder .. "/cases.lua", "return {" .. table.concat(sources, "\n") .. "}")
  process.write_file(folder .. "/runner.lua", cases.RUNNER)
  process.write_file(folder .. "/plain.lua", PLAIN)
  local result = process.run(process.find "lua5.4", {
    args = { "plain.lua", other.host, tostring(other.port), tostring(closed) },
    directory = folder, seconds = 60,
  })
  local text = process.read_file(folder .. "/results")
  process.remove_directory(folder)
  return load("return {" .. (text or error(result.stderr)) .. "}")()
end

describe('require "socket"', function()
  local expected, app, ada, other, closed

  setup(function()
    other, closed = peer.start(), closed_port()
    expected = run_luasocket(other, closed)
    app = server.start({ app = APP, files = { ["runner.lua"] = cases.RUNNER } })
    ada = app:connect("/")
  end)

  teardown(function()
    app:stop()
    other:stop()
  end)

  for i, case in ipairs(cases.list) do
    it("acts as LuaSocket: " .. case[1], function()
      local result = ada:ask(("%s %d %d %s"):format(other.host, other.port, closed, case[2]), 20)
      assert.are.equal(expected[i], result)
    end)
  end
end)
