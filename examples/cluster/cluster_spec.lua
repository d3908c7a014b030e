-- cluster_spec.lua -- the cluster example, as its script starts it: three nodes and Redis behind
-- HAProxy. People on all nodes see and hear each other, a node may end, and nothing is left behind.

local cjson = require "cjson"
local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"
local redis_server = require "support.redis"
local server = require "support.server"
local service = require "support.service"
local session = require "support.session"
local stream = require "support.stream"

local START = "examples/cluster/start"

local function missing()
  if not process.find("haproxy") then return "HAProxy is not installed (scripts/install test)" end
  return redis_server.missing()
end

if missing() then
  describe("examples/cluster", function()
    pending(missing() .. ": nothing of this is tried here")
  end)
  return
end

describe("examples/cluster", function()
  local folder, started, port

  lazy_setup(function()
    folder = process.make_directory()
    port = service.choose_ports(8)
    started = process.start(START, {
      environment = {
        PORT = tostring(port), TIDEWIRE_BIN = server.binary(),
        PATH = os.getenv("PATH") .. ":/usr/sbin",
      },
      stdout = folder .. "/output", stderr = folder .. "/output",
    })
  end)
  lazy_teardown(function()
    started:signal("sigterm")
    started:wait_exit()
    process.remove_directory(folder)
  end)
  after_each(stream.close_all)

  local function output() return process.read_file(folder .. "/output") end

  local function receive(peer, kind)
    while true do
      local text, problem, code = peer:receive()
      assert(text, ("no message came: %s %s\n%s"):format(problem, code, output()))
      local message = cjson.decode(text)
      if message.type == kind then return message end
    end
  end

  -- A person on each node, by the node: HAProxy gives new connections to the node with the fewest.
  local function connect_all()
    local people, count = {}, 0
    assert(loop.wait_until(function()
      assert(not started.exit_code, "the script has ended")
      local name = "person " .. count
      local peer, status =
        client.connect(("ws://127.0.0.1:%d/chat?name=person%%20%d"):format(port, count))
      assert(status ~= 500, output())
      if not peer then return false end
      local node = receive(peer, "welcome").node
      if people[node] then
        peer:close(1000)
      else
        people[node], count = { peer = peer, node = node, name = name }, count + 1
      end
      return count == 3
    end), output())
    return people
  end

  -- Reads until these people are there, as this one knows it.
  local function wait_for_people(one, expected)
    local there = {}
    while true do
      local names = {}
      for _, person in pairs(there) do names[#names + 1] = person.node .. " " .. person.name end
      table.sort(names)
      if table.concat(names, ", ") == expected then return end
      local text = one.peer:receive()
      assert(text, ("%s: %s\n%s"):format(table.concat(names, ", "), expected, output()))
      local message = cjson.decode(text)
      if message.type == "people" then
        there = {}
        for _, person in ipairs(message.people) do there[person.id] = person end
      elseif message.type == "joined" then
        there[message.id] = message
      elseif message.type == "left" then
        there[message.id] = nil
      end
    end
  end

  local function names_of(people)
    local names = {}
    for node, person in pairs(people) do names[#names + 1] = node .. " " .. person.name end
    table.sort(names)
    return table.concat(names, ", ")
  end

  it("shows each person with the node, and lets all talk with all", function()
    local people = connect_all()
    for _, person in pairs(people) do wait_for_people(person, names_of(people)) end
    for node, person in pairs(people) do
      person.peer:send_text(cjson.encode({ type = "say", text = "hello from " .. node }))
      for _, other in pairs(people) do
        local said = receive(other.peer, "said")
        assert.same({ person.name, node, "hello from " .. node },
          { said.name, said.node, said.text })
      end
    end
    for _, person in pairs(people) do
      person.peer:send_text('{"type":"say","text":""}')
      assert.matches("text must have", receive(person.peer, "error").error)
    end
  end)

  it("knows a person again who comes back to another node", function()
    local bob = client.connect(("ws://127.0.0.1:%d/chat?name=bob"):format(port + 3))
    local ada = session.start(("ws://127.0.0.1:%d/chat?name=ada"):format(port + 1))
    local id = cjson.decode((ada:receive())).id
    local function wait_for_node(node)
      repeat local message = receive(bob, "joined") until message.id == id and message.node == node
    end
    wait_for_node("a")
    ada.socket:abort()
    ada.url = ("ws://127.0.0.1:%d/chat?name=ada"):format(port + 2)
    assert.is_true(ada:connect().resumed)
    wait_for_node("b")
    bob:send_text('{"type":"say","text":"there you are"}')
    local message
    repeat message = cjson.decode((ada:receive())) until message.type == "said"
    assert.equal("there you are", message.text)
    ada.socket:close(1000)
    assert.equal(id, receive(bob, "left").id)
  end)

  it("goes on when a node ends", function()
    local people = connect_all()
    for _, person in pairs(people) do wait_for_people(person, names_of(people)) end
    local gone = people.b
    assert(require("luv").kill(tonumber(output():match("node b: [^\n]* pid (%d+)")), "sigterm"))
    repeat local text = gone.peer:receive() until not text
    people.b = nil
    for _, person in pairs(people) do
      while cjson.decode((person.peer:receive())).type ~= "left" do end
    end
    people.a.peer:send_text('{"type":"say","text":"who is left?"}')
    assert.equal("who is left?", receive(people.c.peer, "said").text)
    local again = client.connect(("ws://127.0.0.1:%d/chat?name=again"):format(port))
    assert.is_true(receive(again, "welcome").node ~= "b")
  end)

  it("leaves nothing behind", function()
    local pids = {}
    for pid in output():gmatch("pid (%d+)\n") do pids[#pids + 1] = pid end
    assert.equal(5, #pids)
    started:signal("sigterm")
    assert.same({ 0, 0 }, { started:wait_exit(loop.patience + 15) })
    for _, pid in ipairs(pids) do
      assert.is_nil(process.read_file("/proc/" .. pid .. "/stat"))
    end
  end)
end)
