-- client_sessions_spec.lua -- the JavaScript client with sessions, in Node, against the real
-- server: sockets are cut at random, the server is started again, and no message is lost, doubled
-- or late without a word.

local node = require "support.node"
local process = require "support.process"
local server = require "support.server"

local NODE, has_node = node.environment, node.has_ws()

-- Sends 150 numbered messages, and an echo of each number that it gets.
local APP = [[
local record = require "record"
-- (a timer does not outlive a restart)
local function run(conn)
  conn.timer = conn.timer or conn:every(0.005, function()
    if conn.number == 150 then return end
    conn.number = conn.number + 1
    conn:send({ number = conn.number })
  end)
end
return {
  codec = "json",
  heartbeat = "json",
  ping_period = 1,
  resume = { messages = 5000, bytes = "8M" },
  max_backlog = "8M",
  on_start = function(conn)
    conn.last, conn.number = 0, 0
    run(conn)
  end,
  on_resume = run,
  handle_message = function(conn, message)
    if conn.last == 0 then record("first") end
    local wrong = conn.last > 0 and message.n ~= conn.last + 1 and conn.last or nil
    conn:send({ echo = message.n, wrong = wrong })
    conn.last = message.n
  end,
}
]]

local REQUESTS = [[
local tw = require "tidewire"
return {
  codec = "json",
  resume = true,
  handle_message = tw.rpc({
    double = function(conn, number) return number * 2 end,
    no = function() return nil, "never", "cancelled" end,
    back = function(conn, data)
      local answer, why, kind = conn:ask({ to = data }, { type = data })
      return { answer = answer, why = why, kind = kind }
    end,
  }, function(conn, message) conn:send({ other = message }) end),
}
]]

describe("the JavaScript client with a session", function()
  local function with_node(name, body)
    if has_node then return it(name, body) end
    pending(name .. ": nothing of this is tried here; it needs Node and its package ws "
      .. "(scripts/install browsers)", function() end)
  end

  local function args(app, how)
    return {
      "tests/interop/client_sessions.js", "clients/js/tidewire.js", app:url("/"), how,
      os.getenv("TIDEWIRE_TEST_SEED"),
    }
  end

  for _, workers in ipairs({ 1, 4 }) do
    with_node(("loses and doubles nothing when sockets are cut, with %d workers"):format(workers),
      function()
        local app <close> = server.start({ app = APP, workers = workers })
        local result = process.run("node",
          { args = args(app, "cut"), environment = NODE, seconds = 300 })
        assert.equal(0, result.code, result.stdout .. result.stderr)
      end)
  end

  with_node("says what is lost when the server starts again", function()
    local app = server.start({ app = APP })
    local output = process.make_directory() .. "/output"
    local client = process.start("node", {
      args = args(app, "restart"), environment = NODE, stdout = output, stderr = output,
    })
    local address = "127.0.0.1:" .. app.addresses[1].port
    for _ = 1, 2 do
      app:wait_event("first", 20)
      app:stop()
      app = server.start({ app = APP, listen = { address } })
    end
    assert.equal(0, client:wait_exit(300), process.read_file(output))
    app:stop()
    process.remove_directory((output:match("^(.*)/")))
  end)

  with_node("notices nothing of a restart with a state file", function()
    local folder = process.make_directory()
    local options = { "--state", folder .. "/state" }
    local app = server.start({ app = APP, options = options })
    local output = folder .. "/output"
    local client = process.start("node", {
      args = args(app, "state"), environment = NODE, stdout = output, stderr = output,
    })
    local address = "127.0.0.1:" .. app.addresses[1].port
    app:wait_event("first", 20)
    app:stop()
    app = server.start({ app = APP, listen = { address }, options = options })
    assert.equal(0, client:wait_exit(300), process.read_file(output))
    app:stop()
    process.remove_directory(folder)
  end)

  with_node("asks and is asked", function()
    local app <close> = server.start({ app = REQUESTS })
    local result = process.run("node", {
      args = { "tests/interop/client_requests.js", "clients/js/tidewire.js", app:url("/") },
      environment = NODE, seconds = 60,
    })
    assert.equal(0, result.code, result.stdout .. result.stderr)
  end)
end)
