-- man_spec.lua -- scripts/check_man.lua finds differences between the help, the manual page and the
-- options: each case spoils one thing in a copy, and the real check must name it.

local spoiled = require "support.spoiled"

describe("scripts/check_man.lua", function()
  spoiled("scripts/check_man.lua",
    "mkdir -p TOP/src/server TOP/man && "
      .. "cp src/server/settings.c src/server/settings_help.c TOP/src/server && cp "
      .. "man/tidewire.1 TOP/man", {
    { "a new option", "src/server/settings.c", '{"%-%-watch", NULL',
      '{"--new-one", NULL, FLAG(watch), false}, %0',
      "the option --new-one is in src/server/settings.c, but not in src/server/settings_help.c" },
    { "an option that the help lacks", "src/server/settings_help.c", "  %-%-watch ", "  ",
      "the option --watch is in src/server/settings.c, but not in src/server/settings_help.c" },
    { "an option that the page lacks", "man/tidewire.1", "\\%-\\%-watch", "watch",
      "the option --watch is in src/server/settings_help.c, but not in man/tidewire.1" },
    { "an option that there is not", "man/tidewire.1", "\\%-\\%-watch", "\\-\\-wtach",
      "the option --wtach is in man/tidewire.1, but not in src/server/settings_help.c" },
    { "a variable", "man/tidewire.1", "TIDEWIRE_PID_FILE", "TIDEWIRE_PIDFILE",
      "the variable TIDEWIRE_PID_FILE is in src/server/settings_help.c, but not in "
        .. "man/tidewire.1" },
    { "a signal", "man/tidewire.1", "SIGUSR1", "SIGUSR2",
      "the signal SIGUSR2 is in man/tidewire.1, but not in src/server/settings_help.c" },
    { "a new command", "src/server/settings.c", '{"run", ', '{"walk", ACTION_RUN}, %0',
      "the command walk is in src/server/settings.c, but not in man/tidewire.1" },
    { "a command that the help lacks", "src/server/settings_help.c", "  check    loads", "  loads",
      "the command check is in src/server/settings.c, but not in src/server/settings_help.c" },
  })
end)
