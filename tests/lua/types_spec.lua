-- types_spec.lua -- scripts/check_api.lua finds differences between bound, typed and documented
-- names: each case spoils one thing in a copy of the tree, and the real check must name it.

local spoiled = require "support.spoiled"

describe("scripts/check_api.lua", function()
  spoiled("scripts/check_api.lua",
    "mkdir -p TOP/src/core/bus TOP/src/cluster/node && "
      .. "cp src/cluster/node/node.h TOP/src/cluster/node && "
      .. "cp -r lua docs README.md TOP && cp -r src/script TOP/src && "
      .. "cp src/core/bus/stats.h TOP/src/core/bus", {
    { "a C function that is not typed", "src/script/bind/bind_task.c", '{"wake", core_wake},',
      '%0 {"extra", core_wake},',
      "core.extra is bound in src/script, but not typed in lua/types/core.lua" },
    { "a C function that is gone", "src/script/bind/bind_task.c", '{"wake", core_wake},', "",
      "core.wake is typed in lua/types/core.lua, but not bound in src/script" },
    { "a C function in a comment only", "src/script/bind/bind_task.c", '{"wake", core_wake},',
      "/* %0 */", "core.wake is typed in lua/types/core.lua, but not bound" },
    { "a function of a C module that is not typed", "src/script/json/json_c.c",
      '{"array", array},', '%0 {"extra", array},',
      "json_c.extra is bound in src/script, but not typed" },
    { "a value that is set on the core", "src/script/bind/bind.c",
      'lua_setfield%(L, %-2, "senders"%);', '%0 lua_setfield(L, -2, "extra");',
      "core.extra is bound in src/script, but not typed" },
    { "a function of tw", "lua/tidewire/init.lua", "\nreturn tw", "\nfunction tw.extra() end%0",
      "tw.extra is bound in lua/tidewire/init.lua, but not typed in lua/types/tidewire.lua" },
    { "a function of tw that is not documented", "docs/scripting.md", "tw%.spawn", "tw.spwan",
      "tw.spawn is bound in lua/tidewire/init.lua, but not documented in docs/scripting.md" },
    { "a function of tw that there is not", "README.md", "\n", "\n`tw.nothing()`\n",
      "tw.nothing is documented in README.md, but not bound" },
    { "a method of conn", "lua/tidewire/conn.lua", "\nreturn Conn",
      "\nfunction methods.extra() end%0",
      "conn.extra is bound in lua/tidewire/conn.lua, but not typed" },
    { "a field of conn that is not typed", "lua/types/tidewire.lua",
      "%-%-%-@field rtt [^\n]+\n", "",
      "conn.rtt is bound in lua/tidewire/conn.lua, but not typed" },
    { "a method of conn that there is not", "lua/types/tidewire.lua", "\nfunction Conn:ping%(",
      "\nfunction Conn:pong() end%0",
      "conn.pong is typed in lua/types/tidewire.lua, but not bound" },
    { "a field of requests that is not documented", "docs/scripting.md", "request%.cookies",
      "request", "request.cookies is bound in lua/tidewire/http/request.lua, but not documented" },
    { "an option that is not typed", "lua/tidewire/load/options.lua", '{ name = "codec",',
      '{ name = "extra", type = "text" }, %0',
      "the handler's extra is bound in lua/tidewire/load/options.lua, but not typed" },
    { "an option that is not documented", "docs/configuration.md", "slow_client", "",
      "the handler's slow_client is bound in lua/tidewire/load/options.lua, but not documented in "
        .. "docs/configuration.md" },
    { "a hook that is not documented", "docs/scripting.md", "on_drain", "",
      "the hook on_drain is bound in lua/tidewire/load/options.lua, but not documented in "
        .. "docs/scripting.md" },
    { "a counter", "src/core/bus/stats.h", "#define STATS_COUNTERS%(X%)[^\n]+",
      '%0\n    X(extra_things, "Things") \\',
      "tw.stats().extra_things is bound in src/core/bus/stats.h or tw.stats, but not typed" },
  })
end)
