-- conn_id_spec.lua -- a conn.id is unique: in one run, over later runs, and over the processes of
-- an upgrade. A stored id reaches no other connection.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local WORKERS = tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1)

-- Each client gets its id. A message is the name of a function and the ids that it is called
-- with, one after the other; its answer is what came of them, each different one once.
local APP = [[
local tw = require "tidewire"
local calls = {
  send = function(id) return tw.send(id, "for another client") end,
  close = function(id) return tw.close(id, 4000) end,
  except = function(id) return tw.broadcast("for all", { except = id }) end,
}
return {
  endpoints = {
    ["/"] = {
      validate = require("here").validate,
      ping_period = 0,
      on_start = function(conn) conn:send(conn.id) end,
      handle_message = function(conn, message)
        local name, ids = message:match("^(%a+)(.*)$")
        local results, seen = {}, {}
        for id in ids:gmatch("%S+") do
          local ok, why = calls[name](id)
          local result = tostring(ok) .. " " .. tostring(why)
          if not seen[result] then results[#results + 1] = result end
          seen[result] = true
        end
        conn:send(table.concat(results, ", "))
      end,
    },
  },
  on_stop = function()
    repeat
      tw.sleep(0.005)
      local finish = io.open("go_on")
    until not tw.keep("waits", {})[1] or finish
    if finish then finish:close() end
  end,
}
]]

--- Connects a client, and adds its id to `given`, where it must not be yet.
local function connect(app, given, worker)
  local peer = app:connect_on(worker, "/")
  local id = peer:receive()
  assert.is_nil(given[id], "given twice: " .. id)
  given[id], given[#given + 1] = true, id
  return peer, id
end

--- Many clients, most of which disconnect before the next connects. Returns some that stay.
local function churn(app, given)
  local stay = {}
  for index = 1, 200 do
    local peer = connect(app, given, index % WORKERS)
    if index % 50 < WORKERS then
      stay[#stay + 1] = peer
    else
      peer:close(1000)
      peer:wait_closed()
    end
  end
  return stay
end

--- None of these ids reaches any of these clients of another process.
local function check_foreign(peers, ids)
  local list = " " .. table.concat(ids, " ")
  for _, peer in ipairs(peers) do
    assert.equal("nil closed", (peer:ask("send" .. list)))
    assert.equal("nil closed", (peer:ask("close" .. list)))
  end
  -- nothing came before this answer
  for _, peer in ipairs(peers) do assert.equal("", (peer:ask("send"))) end
end

describe("a conn.id", function()
  local servers, folder

  before_each(function() servers, folder = {}, process.make_directory() end)

  after_each(function()
    stream.close_all()
    for index = #servers, 1, -1 do servers[index]:stop() end
    process.remove_directory(folder)
  end)

  local function start(options)
    options.app = options.app or APP
    local app = server.start(options)
    servers[#servers + 1] = app
    return app
  end

  it("is unique over three runs of many clients, and unknown in a later run", function()
    local given = {}
    for _ = 1, 3 do
      local earlier = table.move(given, 1, #given, 1, {})
      local app = start {}
      local peers = churn(app, given)
      if #earlier > 0 then
        check_foreign(peers, earlier)
        -- it leaves out no connection
        assert.equal("for all", (peers[1]:ask("except " .. earlier[1])))
        assert.equal(#peers .. " nil", (peers[1]:receive()))
      end
      stream.close_all()
      app:stop()
      servers[#servers] = nil
    end
    assert.equal(3 * 200, #given)
  end)

  it("is not given by both processes of an upgrade, and means nothing to the other one", function()
    local pid_file = folder .. "/tidewire.pid"
    local waiting = APP:gsub("return {", 'tw.keep("waits", {})[1] = true\nreturn {', 1)
    local old = start {
      app = waiting, options = { "--pid-file", pid_file, "--drain-seconds", "3600" },
    }
    local given = {}
    local olds = churn(old, given)
    local of_old = table.move(given, 1, #given, 1, {})
    local new = start { options = { "--pid-file", pid_file, "--upgrade" } }
    local news = churn(new, given)
    local of_new = table.move(given, #of_old + 1, #given, 1, {})
    check_foreign(olds, of_new) -- on_stop of the old process waits: it still serves them
    check_foreign(news, of_old)
    process.write_file(old.directory .. "/go_on", "")
    for _, peer in ipairs(olds) do assert.equal(1001, (peer:wait_closed())) end
    assert.same({ 0, 0 }, { old.process:wait_exit() })
  end)
end)
