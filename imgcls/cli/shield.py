"""What stands between names from strangers and a terminal, for tables and live displays that rich draws."""

from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from imgcls.host.terminal_text import printable


class ShieldedConsole(Console):
    """A console that shows escape sequences in labels, names and keys instead of obeying them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        super().push_render_hook(Shield())

    def push_render_hook(self, hook: RenderHook) -> None:
        """Put a live display's hook before the shield, so that what it draws is shown too."""
        super().pop_render_hook()
        super().push_render_hook(hook)
        super().push_render_hook(Shield())

    def pop_render_hook(self) -> None:
        """Take the last live display's hook away; the shield stays."""
        super().pop_render_hook()
        super().pop_render_hook()
        super().push_render_hook(Shield())

    def on_broken_pipe(self) -> None:
        """A reader that has gone ends the command as it ends any other, not by rich's own exit."""
        raise BrokenPipeError


class Shield(RenderHook):
    """Shows control characters in whatever a console renders; rich's own, for colours and cursors, pass."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Wrap each."""
        return [_Shown(renderable) for renderable in renderables]


class _Shown:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, keeps="\n"), segment.style)
