"""The screen that a run is set up on, started from and watched on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from trpotui.errors import RequestError
from trpotui.run_request import command_for, make_config
from trpotui.telemetry import RunState
from trpotui.tui.draft import Draft
from trpotui.tui.form import live_form
from trpotui.tui.messages import ChangeRequested, RunRequested
from trpotui.tui.screens.dialogs import ErrorDialog
from trpotui.tui.screens.enlarged_chart import ONE_UPDATE, PAUSE, START, EnlargedChartScreen
from trpotui.tui.screens.latest_size import LatestSize
from trpotui.tui.screens.sparing_screen import SparingScreen
from trpotui.tui.widgets.chart import Chart
from trpotui.tui.widgets.charts import ChartPane
from trpotui.tui.widgets.key_footer import KeyFooter
from trpotui.tui.widgets.log_pane import LogPane
from trpotui.tui.widgets.run_header import RunHeader
from trpotui.tui.widgets.setup import SetupPane
from trpotui.tui.widgets.update_panel import UpdatePanel

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp
    from trpotui.tui.screens.setup_dialog import SetupAnswer
    from trpotui.tui.widgets.watch_pane import WatchPane


class TrainScreen(LatestSize, SparingScreen):
    """Setup, charts, the update that was just made, and the log."""

    app: TrpotuiApp
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]  # noqa: RUF012 - as Textual declares it
    AUTO_FOCUS = ""  # a field that had the focus would take the keys of the screen
    BINDINGS: ClassVar[list[BindingType]] = [
        START,
        Binding("n", "new", "new", tooltip="set up the next run"),
        PAUSE,
        ONE_UPDATE,
        Binding("e", "edit", "edit", tooltip="change hyperparameters, also while a run goes on"),
        Binding("v", "watch", "watch", tooltip="watch the policy as it is now, or hide it"),
        Binding("p", "play", "play", tooltip="policies on disk, to see them play"),
        Binding("r", "runs", "runs", tooltip="past runs, to compare, repeat and resume them"),
        Binding("z", "enlarge_chart", "enlarge", False, tooltip="let a chart fill the screen"),
        Binding("l", "toggle_scale", "log axis", False, tooltip="logarithmic or linear axis"),
        Binding(
            "left_square_bracket",
            "switch_chart(-1)",
            "chart",
            False,
            key_display="[",
            tooltip="the chart before",
        ),
        Binding(
            "right_square_bracket",
            "switch_chart(1)",
            "chart",
            False,
            key_display="]",
            tooltip="the next chart",
        ),
        Binding("w", "window", "window", False, tooltip="the policy as it is now, in a window"),
        Binding(
            "c",
            "copy_command",
            "copy",
            show=False,
            tooltip="copy the command that trains the same without the app",
        ),
        Binding("escape", "leave_form", "leave the form", show=False),
    ]

    def compose(self) -> ComposeResult:
        """The layout of 120 x 40; the style sheet rearranges it for other sizes."""
        yield RunHeader()
        with Horizontal(id="body"):
            with Vertical(id="side"):
                yield SetupPane(Draft.of(self.app.request))
                yield UpdatePanel()
            with Vertical(id="main"):
                yield ChartPane()
                yield LogPane()
        yield KeyFooter()

    def on_mount(self) -> None:
        """Add what shows a policy as soon as there can be one."""
        self._watch_pane: WatchPane | None = None
        self.watch(self.app, "core_loaded", self._mount_watch_pane)

    def _mount_watch_pane(self, core_loaded: bool) -> None:
        if core_loaded:
            from trpotui.tui.widgets.watch_pane import WatchPane  # noqa: PLC0415 - needs the core

            self._watch_pane = WatchPane()
            self.query_one("#main").mount(self._watch_pane)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A form that nobody is in cannot be left."""
        del parameters
        return action != "leave_form" or self.focused is not None

    def on_screen_resume(self) -> None:
        """Catch up with what happened while another screen was in front."""
        self.call_after_refresh(lambda: self.show(self.app.state))

    def show(self, state: RunState) -> None:
        """Draw what is known of the run."""
        self.query_one(RunHeader).show(state)
        self.query_one(UpdatePanel).show(state)
        self.query_one(ChartPane).show(state)
        self.query_one(LogPane).show(state)
        for screen in self.app.screen_stack:
            if isinstance(screen, EnlargedChartScreen):
                screen.show(state)

    def on_run_requested(self, event: RunRequested) -> None:
        """Start what was asked for, or say what is wrong with it."""
        try:
            config = make_config(event.request)
        except RequestError as error:
            self.app.push_screen(ErrorDialog(str(error)))
            return
        self.app.start(config)
        if self.app.preferences is not None:
            self.app.preferences.remember_setup(event.request)

    def on_stop_requested(self) -> None:
        """Save the run and end it."""
        self.app.stop_run()

    def on_change_requested(self, event: ChangeRequested) -> None:
        """Hand changes to the run, which makes them before its next update."""
        if self.app.session is None or not self.app.busy:
            self.notify("The run has ended: nothing was changed.", severity="warning")
            return
        self.app.session.control.change(event.values)
        self.notify("The change takes effect at the next update.")

    def action_start_or_stop(self) -> None:
        """Start a run as set up, or stop the one that goes on."""
        if self.app.busy:
            self.app.stop_run()
        else:
            self.query_one(SetupPane).request_run()

    def action_new(self) -> None:
        """Go to the setup; on a narrow terminal it is a dialog."""
        pane = self.query_one(SetupPane)

        def answered(answer: SetupAnswer | None) -> None:
            if answer is not None:
                pane.fill(answer.draft)
                if answer.start:
                    pane.request_run()

        if self.has_class("-narrow"):
            from trpotui.tui.screens.setup_dialog import SetupDialog  # noqa: PLC0415 - when needed

            self.app.push_screen(SetupDialog(pane.draft), answered)
        else:
            pane.focus_form()

    def action_edit(self) -> None:
        """Change the run that goes on; where there is none, the hyperparameters of the next."""
        session = self.app.session
        if session is None or not self.app.busy:
            self.query_one(SetupPane).edit_hyperparameters()
            return

        from trpotui.tui.screens.hyperparameters import HyperparameterDialog  # noqa: PLC0415

        def edited(values: dict[str, object] | None) -> None:
            if values:
                self.post_message(ChangeRequested(values))

        form = live_form(session.config, {**session.changed, **self.app.state.changed})
        self.app.push_screen(HyperparameterDialog(lambda: form, search=False), edited)

    def action_copy_command(self) -> None:
        """Copy the command that trains what the setup asks for without the app."""
        pane = self.query_one(SetupPane)
        if not self.app.core_loaded:
            self.notify("Torch is still being loaded: try again in a moment.", severity="warning")
        elif pane.accept():
            command = command_for(pane.draft.request())
            self.app.copy_to_clipboard(command)
            self.notify(command, title="Copied to the clipboard", markup=False)

    def action_leave_form(self) -> None:
        """Take the keys back from a field."""
        self.set_focus(None)

    def action_pause(self) -> None:
        """Hold the run, or let it go on."""
        self.app.toggle_pause()

    def action_one_update(self) -> None:
        """Let a held run do one more update."""
        self.app.one_update()

    def action_watch(self) -> None:
        """Show the policy as it is now beside the charts, or hide it."""
        if self._watch_pane is None:
            self.notify("Torch is still being loaded: try again in a moment.", severity="warning")
        else:
            self._watch_pane.toggle()

    def action_window(self) -> None:
        """Play the policy as it is now in a window; without a display, beside the charts."""
        from trpotui.tui.widgets.watch_pane import run_source  # noqa: PLC0415 - when needed

        pane, session = self._watch_pane, self.app.session
        if session is None:
            self.notify("There is no run yet: start one first.", severity="warning")
            return

        def here() -> None:
            if pane is not None and not pane.display:
                pane.toggle()

        self.app.windows.play(run_source(self.app, session), without_display=here)

    def action_play(self) -> None:
        """Go to the policies on disk."""
        self.app.switch_mode("play")

    def action_runs(self) -> None:
        """Go to the runs of the past."""
        self.app.switch_mode("runs")

    def action_enlarge_chart(self) -> None:
        """Let one chart fill the screen."""
        self.query_one(ChartPane).active.action_enlarge()

    def action_toggle_scale(self) -> None:
        """Change the vertical axis of the chart that was focused last."""
        self.query_one(ChartPane).active.action_toggle_scale()

    def action_switch_chart(self, distance: int) -> None:
        """Show another subject on the last chart."""
        self.query_one(ChartPane).switch(distance)

    def on_chart_enlarge_requested(self, event: Chart.EnlargeRequested) -> None:
        """Show that chart alone."""
        scales = self.query_one(ChartPane).scales
        chart = EnlargedChartScreen(
            event.subject, scales, self.app.state, self.action_start_or_stop
        )
        self.app.push_screen(chart)
