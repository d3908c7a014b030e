-- subscribe.lua -- the scenario of many machines that subscribe many rooms anew after an outage.

local judge = require "sim.judge"

-- 200 machines with 10,000 rooms each, when nothing else is said, and each room on two of them.
return function(options, say)
  return function(seed)
    local machines, count = options.machines or 200, options.rooms or 10000
    local spread = options.spread or 2
    local began = os.clock()
    local run = judge.new({
      seed = seed, machines = machines, servers = options.servers, rooms = {}, say = say,
      delay_us = 2000, backlog = 64 << 20,
    })
    run:run(2)
    for _, each in ipairs(run.machines) do
      local connection = each:open()
      local first = (each.number - 1) // spread * count
      for i = 1, count do each:join(connection, "r" .. first + i, "i") end
      run:run(0.05)
    end
    local function count_in()
      local is_in = 0
      for _, each in ipairs(run.machines) do
        for _, connection in pairs(each.connections) do
          for _, member in pairs(connection.rooms) do
            if member.is_in then is_in = is_in + 1 end
          end
        end
      end
      return is_in
    end
    while count_in() < machines * count and run.world.now < 600e6 do run:run(1) end
    say(("%d machines are in %d rooms each: %d members, %.1f s of their time, %.1f s of CPU")
      :format(machines, count, count_in(), run.world.now / 1e6, os.clock() - began))

    local at, cpu = run.world.now, os.clock()
    for _, server in ipairs(run.world.servers) do
      server:kill()
      server:start({})
    end
    run:run(1)
    local is_healed, rooms_live
    run:when_healed(function() is_healed = true end)
    while not is_healed do run:run(0.1) end
    local healed_at = run.world.now
    repeat
      run:run(0.1)
      rooms_live = 0
      for _, each in ipairs(run.machines) do
        rooms_live = rooms_live + each.node:figures().rooms_live
      end
    until rooms_live >= machines * count or run.world.now - at > 600e6
    say(("after a restart of Redis: all connections after %.1f s, all %d rooms live after %.1f s "
      .. "of their time, %.1f s of CPU, %d commands"):format((healed_at - at) / 1e6, rooms_live,
      (run.world.now - at) / 1e6, os.clock() - cpu, run:count_commands()))
    if rooms_live < machines * count then run:fault("not all rooms are live again") end
    return run
  end
end
